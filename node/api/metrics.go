package api

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/corpus"
	"github.com/entente-mesh/entente/policy/rules"
)

// collector reads a node's numbers at each scrape.
type collector struct {
	node  *node.Node
	descs map[string]*prometheus.Desc
}

// metric is one number: its name without the prefix, whether it counts up, and what it is.
type metric struct {
	name    string
	counter bool
	help    string
	value   func(m *node.Metrics) float64
}

var metrics = []metric{
	{"start_time_seconds", false, "When the node started, in Unix time.", func(m *node.Metrics) float64 { return seconds(m.Started) }},
	{"index_read", false, "1 once the index was read after the node came up; searches take longer until then.", func(m *node.Metrics) float64 { return truth(m.IndexRead) }},
	{"online", false, "1 while the node is on the network.", func(m *node.Metrics) float64 { return truth(m.Online) }},
	{"ready", false, "1 while nothing keeps the node from serving.", func(m *node.Metrics) float64 { return truth(m.Ready) }},
	{"peers_connected", false, "Nodes connected now.", func(m *node.Metrics) float64 { return float64(m.Connected) }},
	{"peers_by_relay", false, "Of them, those reached by way of a relay only.", func(m *node.Metrics) float64 { return float64(reach(m).ByRelay) }},
	{"peers_by_proxy", false, "Of them, those reached by way of the HTTP proxy.", func(m *node.Metrics) float64 { return float64(reach(m).ByProxy) }},
	{"relay_reservations_held", false, "Relays by way of which this node can be called.", func(m *node.Metrics) float64 { return float64(len(reach(m).Reservations)) }},
	{"relay_reservations_served", false, "Nodes that can be called by way of this one.", func(m *node.Metrics) float64 { return float64(relaying(m).Reservations) }},
	{"relay_circuits", false, "Connections that this node forwards now.", func(m *node.Metrics) float64 { return float64(relaying(m).Circuits) }},
	{"relay_bytes_total", true, "Bytes that this node forwarded since it came on line.", func(m *node.Metrics) float64 { return float64(relaying(m).Bytes) }},
	{"circuits_replaced_total", true, "Connections by way of a relay that direct ones took the place of.", func(m *node.Metrics) float64 { return float64(reach(m).Punched) }},
	{"peers_reset_total", true, "Connections ended because the peer shared no topic.", func(m *node.Metrics) float64 { return float64(reach(m).Resets) }},
	{"members", false, "Organisations in the network.", func(m *node.Metrics) float64 { return float64(m.Members) }},
	{"agreements_in_force", false, "Agreements of this organisation in force.", func(m *node.Metrics) float64 { return float64(m.Agreements) }},
	{"own_nodes", false, "Other nodes of this organisation.", func(m *node.Metrics) float64 { return float64(m.OwnNodes) }},
	{"own_nodes_connected", false, "Other nodes of this organisation that are connected now.", func(m *node.Metrics) float64 { return float64(m.OwnUp) }},
	{"own_nodes_same", false, "Other nodes of this organisation that held nothing that is lacking here when they were last compared with.", func(m *node.Metrics) float64 { return float64(m.OwnSame) }},
	{"card_expiry_time_seconds", false, "When this organisation's card ceases to be fresh, in Unix time; 0 without a card.", func(m *node.Metrics) float64 { return seconds(m.CardEnds) }},
	{"records", false, "Records that this organisation can read.", func(m *node.Metrics) float64 { return float64(m.Records) }},
	{"entries_only_here", false, "Own entries of which no other node has signed that it holds a copy.", func(m *node.Metrics) float64 { return float64(m.OnlyHere) }},
	{"erasure_requests_waiting", false, "Requests to erase by others that are not answered to the end.", func(m *node.Metrics) float64 { return float64(m.Erasures.Waiting) }},
	{"erasure_requests_late", false, "Of them, those past the day they are due.", func(m *node.Metrics) float64 { return float64(m.Erasures.Late) }},
	{"erasure_requests_asked", false, "Requests to erase by this organisation that are not answered to the end.", func(m *node.Metrics) float64 { return float64(m.Erasures.Asked) }},
	{"erasure_requests_overdue", false, "Of them, those past the day they are due.", func(m *node.Metrics) float64 { return float64(m.Erasures.Overdue) }},
	{"legal_holds", false, "Legal holds that stand.", func(m *node.Metrics) float64 { return float64(m.Holds) }},
	{"sources", false, "Sources from which this node fetches what it publishes.", func(m *node.Metrics) float64 { return float64(m.Sources.Sources) }},
	{"sources_failing", false, "Of them, those whose last run failed.", func(m *node.Metrics) float64 { return float64(m.Sources.Failing) }},
	{"source_dead_letters", false, "Dead letters of sources that wait for a person.", func(m *node.Metrics) float64 { return float64(m.Sources.Dead) }},
	{"source_dead_letters_evicted_total", true, "Dead letters that went to make room for later ones, of the sources that there are.", func(m *node.Metrics) float64 { return float64(m.Sources.Evicted) }},
	{"source_records_published_total", true, "Records published by the sources that there are.", func(m *node.Metrics) float64 { return float64(m.Sources.Published) }},
	{"disk_used_bytes", false, "Bytes of the data directory, looked at every few seconds.", func(m *node.Metrics) float64 { return float64(m.Disk.Used) }},
	{"disk_limit_bytes", false, "Bytes that the data directory may take; 0: no limit.", func(m *node.Metrics) float64 { return float64(m.Disk.Limit) }},
	{"disk_free_bytes", false, "Bytes that the file system of the data directory has left, or that of the anchor, if that is less; none where it is not known. Below 512 MiB nothing is published or taken.", func(m *node.Metrics) float64 { return known(m.Disk.Free) }},
	{"disk_full", false, "1 while the limit is reached and nothing may be evicted.", func(m *node.Metrics) float64 { return truth(m.Disk.Full) }},
	{"bodies_evicted", false, "Bodies given up to make room, that others hold.", func(m *node.Metrics) float64 { return float64(m.Disk.Evicted) }},
	{"quota_refusals_total", true, "Entries refused because their organisation used up its share.", func(m *node.Metrics) float64 { return float64(m.Disk.OverQuota) }},
	{"gossip_rejected_total", true, "Gossiped messages that did not verify.", func(m *node.Metrics) float64 { return float64(m.Rejected) }},
	{"gossip_ignored_total", true, "Gossiped messages that were not taken, by nobody's fault.", func(m *node.Metrics) float64 { return float64(m.Ignored) }},
	{"gossip_dropped_total", true, "Messages lost in full queues, left to the sync.", func(m *node.Metrics) float64 { return float64(m.Dropped) }},
	{"gossip_duplicates_total", true, "Gossiped entries that another peer had brought before.", func(m *node.Metrics) float64 { return float64(m.Duplicates) }},
	{"store_failures_total", true, "Failures to store.", func(m *node.Metrics) float64 { return float64(m.Failed) }},
	{"decisions_total", true, "Decisions made, about whom to send to and about what came: those of classes of handling that had not been decided.", func(m *node.Metrics) float64 { return float64(m.Decided) }},
	{"records_published_total", true, "Own records published.", func(m *node.Metrics) float64 { return float64(m.Published) }},
	{"entries_published_total", true, "Own entries appended with them.", func(m *node.Metrics) float64 { return float64(m.Appended) }},
	{"erases_applied_total", true, "Erase statements applied, own and received.", func(m *node.Metrics) float64 { return float64(m.Erased) }},
	{"syncs_total", true, "Comparisons with peers begun.", func(m *node.Metrics) float64 { return float64(m.Syncs) }},
	{"sync_failures_total", true, "Comparisons with peers that broke off.", func(m *node.Metrics) float64 { return float64(m.SyncFailed) }},
	{"mirror_connected", false, "1 while the database that follows the corpus is connected; 0 also without one.", func(m *node.Metrics) float64 { return truth(mirror(m).Connected) }},
	{"mirror_behind_changes", false, "Changes of the corpus that the database does not have yet, about.", func(m *node.Metrics) float64 { return float64(mirror(m).Behind) }},
	{"mirror_up_to_time_seconds", false, "When the database last had everything, in Unix time; 0: not since the start.", func(m *node.Metrics) float64 { return seconds(mirror(m).UpTo) }},
	{"mirror_written_total", true, "Records written to the database.", func(m *node.Metrics) float64 { return float64(mirror(m).Written) }},
	{"mirror_failures_total", true, "Failures to write to the database.", func(m *node.Metrics) float64 { return float64(mirror(m).Failures) }},
	{"mirror_searches_total", true, "Searches that the database answered.", func(m *node.Metrics) float64 { return float64(mirror(m).Answered) }},
	{"mirror_searches_declined_total", true, "Searches that the embedded corpus answered because the database was behind or failed.", func(m *node.Metrics) float64 { return float64(mirror(m).Declined) }},
	{"last_sync_time_seconds", false, "When a comparison was last done to its end, in Unix time; 0: never.", func(m *node.Metrics) float64 { return seconds(m.Synced) }},
}

// topicMetric is one number of a topic.
type topicMetric struct {
	name, help string
	value      func(t *node.TopicMetrics) float64
}

var topicMetrics = []topicMetric{
	{"topic_feeds", "Feeds known in a topic.", func(t *node.TopicMetrics) float64 { return float64(t.Feeds) }},
	{"topic_feeds_with_gaps", "Feeds that lack something of what their authors say that there is.", func(t *node.TopicMetrics) float64 { return float64(t.Gaps) }},
	{"topic_feeds_silent", "Feeds whose authors did not say in time where they stand.", func(t *node.TopicMetrics) float64 { return float64(t.Silent) }},
	{"topic_feeds_forked", "Feeds that their authors forked.", func(t *node.TopicMetrics) float64 { return float64(t.Forked) }},
	{"topic_entries", "Entries held.", func(t *node.TopicMetrics) float64 { return float64(t.Held) }},
	{"topic_entries_pending", "Entries held and not gone through yet.", func(t *node.TopicMetrics) float64 { return float64(t.Pending) }},
	{"topic_entries_missing", "Entries and bodies that there are, and that are not held.", func(t *node.TopicMetrics) float64 { return float64(t.Missing) }},
	{"topic_entries_awaiting_key", "Entries that await a key or what they can be judged by.", func(t *node.TopicMetrics) float64 { return float64(t.Awaiting) }},
}

// mirror is that of a node, or one that does nothing.
func mirror(m *node.Metrics) *corpus.MirrorStatus {
	if m.Mirror == nil {
		return new(corpus.MirrorStatus)
	}
	return m.Mirror
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// known is a number, or none: that is not measured.
func known(n *uint64) float64 {
	if n == nil {
		return math.NaN()
	}
	return float64(*n)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// problemsMetric counts what somebody should see to, by kind and severity, as the status of the node tells it. It
// goes through what the status does: documents in quarantine among others.
const problemsMetric = "problems"

func newCollector(n *node.Node) *collector {
	c := &collector{node: n, descs: map[string]*prometheus.Desc{}}
	for _, m := range metrics {
		c.descs[m.name] = prometheus.NewDesc("entente_"+m.name, m.help, nil, nil)
	}
	for _, m := range topicMetrics {
		c.descs[m.name] = prometheus.NewDesc("entente_"+m.name, m.help, []string{"topic"}, nil)
	}
	c.descs[problemsMetric] = prometheus.NewDesc("entente_"+problemsMetric, "Problems that somebody should see to, by kind (docs/problems.md) and severity, error or warning. None: there is no such series.", []string{"kind", "severity"}, nil)
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	m, err := c.node.Metrics()
	if err != nil {
		out <- prometheus.NewInvalidMetric(c.descs["ready"], err)
		return
	}
	for _, x := range metrics {
		kind := prometheus.GaugeValue
		if x.counter {
			kind = prometheus.CounterValue
		}
		if v := x.value(&m); !math.IsNaN(v) {
			out <- prometheus.MustNewConstMetric(c.descs[x.name], kind, v)
		}
	}
	st, err := c.node.Status()
	if err != nil {
		out <- prometheus.NewInvalidMetric(c.descs[problemsMetric], err)
		return
	}
	count := map[[2]string]float64{}
	for _, p := range st.Problems {
		count[[2]string{p.Kind, p.Severity}]++
	}
	for of, v := range count {
		out <- prometheus.MustNewConstMetric(c.descs[problemsMetric], prometheus.GaugeValue, v, of[0], of[1])
	}
	for topic, t := range m.Topics {
		for _, x := range topicMetrics {
			out <- prometheus.MustNewConstMetric(c.descs[x.name], prometheus.GaugeValue, x.value(&t), topic)
		}
	}
}

// buildVersion is set by the linker for a release, whose build knows no version otherwise.
var buildVersion string

// registry returns all that is measured: the node, the process, the Go runtime, the build.
func registry(n *node.Node) *prometheus.Registry {
	r := prometheus.NewRegistry()
	version := "unknown"
	if buildVersion != "" {
		version = buildVersion
	} else if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "entente_build_info", Help: "1, with the version of the program.", ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	r.MustRegister(newCollector(n), build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

func (s *Server) monitoringRoutes() {
	monitoring := Monitoring(s.node)
	serve := func(w http.ResponseWriter, r *http.Request, _ *none) { monitoring.ServeHTTP(w, r) }
	s.declare("monitoring",
		serves("GET /metrics", "Metrics", rules.Administer, "Tells what is measured, as Prometheus reads it.", serve).sends("", "Metrics.", "text/plain"),
		serves("GET /healthz", "Healthz", anyone, "Says whether the store can be read.", serve).replies(reflect.TypeFor[Health]()).unavailable("The store cannot be read."),
		serves("GET /readyz", "Readyz", anyone, "Says whether anything keeps the node from serving.", serve).replies(reflect.TypeFor[Readiness]()).unavailable("Something keeps the node from serving."),
	)
}

// Health says whether the store can be read.
type Health struct {
	Healthy bool     `json:"healthy"`
	Reasons []string `json:"reasons,omitempty"`
}

// Readiness says whether anything keeps the node from serving.
type Readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons,omitempty"`
}

// Monitoring answers /metrics (Prometheus), /healthz and /readyz, and nothing else.
func Monitoring(n *node.Node) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry(n), promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := n.Healthy(); err != nil {
			reply(w, http.StatusServiceUnavailable, Health{Reasons: []string{err.Error()}})
			return
		}
		reply(w, http.StatusOK, Health{Healthy: true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if reasons := n.Ready(); len(reasons) > 0 {
			reply(w, http.StatusServiceUnavailable, Readiness{Reasons: reasons})
			return
		}
		reply(w, http.StatusOK, Readiness{Ready: true})
	})
	return mux
}

// ServeMonitoring answers on l until ctx ends.
func ServeMonitoring(ctx context.Context, n *node.Node, l net.Listener) error {
	srv := &http.Server{Handler: Monitoring(n), ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); ctx.Err() == nil {
		return fmt.Errorf("serving metrics: %w", err)
	}
	return nil
}

// reach returns how peers are reached, or nothing.
func reach(m *node.Metrics) *node.ReachStatus {
	if m.Reach == nil {
		return new(node.ReachStatus)
	}
	return m.Reach
}

// relaying returns what the node does as a relay, or nothing.
func relaying(m *node.Metrics) node.RelayWork {
	if w := reach(m).Relaying; w != nil {
		return *w
	}
	return node.RelayWork{}
}
