package misp

import (
	"bufio"
	"bytes"
	"crypto/md5" // the feed format is made of it
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/entente-mesh/entente/node"
	"github.com/entente-mesh/entente/node/misp/core"
	"github.com/entente-mesh/entente/node/serve"
	"github.com/entente-mesh/entente/protocol"
)

// topicPrefix begins the name of a feed that is a topic, and no saved view.
const topicPrefix = "topic:"

// viewOf returns the view of a feed: a saved one, or of a topic that this organisation is in.
func (s *server) viewOf(name string) (*node.View, error) {
	topics := s.node.TopicNames()
	views, err := s.node.Views()
	if err != nil {
		return nil, err
	}
	s.keepOnly(views, topics)
	if topic, ok := strings.CutPrefix(name, topicPrefix); ok {
		if !slices.Contains(topics, topic) {
			return nil, notFound("feed: there is no such topic here.")
		}
		return node.TopicView(topic), nil
	}
	return s.node.View(name)
}

// feed answers GET /misp/feed/{view}/{file}: manifest.json, hashes.csv, UUID.json.
func (s *server) feed(w http.ResponseWriter, r *http.Request) error {
	view, err := s.viewOf(r.PathValue("view"))
	if err != nil {
		return err
	}
	switch file := r.PathValue("file"); {
	case file == "manifest.json":
		return s.manifest(w, r, view)
	case file == "hashes.csv":
		return s.hashes(w, r, view)
	case strings.HasSuffix(file, ".json"):
		o, err := s.outline(r, view, strings.ToLower(strings.TrimSuffix(file, ".json")))
		if err != nil {
			return err
		}
		event, ids, err := s.build(r.Context(), serve.Reader(r), o)
		if err != nil {
			return err
		}
		if event == nil {
			return notFound("event.")
		}
		return s.tagged(w, r, core.Encode(event), "application/json", ids)
	}
	return notFound("file; a feed holds manifest.json, hashes.csv and an event each as UUID.json")
}

// manifest names the events: what is in it is what the events say of themselves.
func (s *server) manifest(w http.ResponseWriter, r *http.Request, view *node.View) error {
	list, err := s.outlines(r, view)
	if err != nil {
		return err
	}
	manifest := map[string]any{}
	var ids []protocol.RecordID
	for _, o := range list {
		head, by, err := s.head(serve.Reader(r), o)
		if err != nil {
			return err
		}
		entry := map[string]any{}
		for _, name := range []string{"Orgc", "Tag", "info", "date", "analysis", "threat_level_id", "timestamp"} {
			entry[name] = head[name]
		}
		manifest[o.uuid] = entry
		ids = append(ids, by...)
	}
	body, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	return s.tagged(w, r, body, "application/json", ids)
}

// hashes lists MD5 over every value, by which an instance finds what it knows without pulling it. Of
// values in two parts it is each part.
func (s *server) hashes(w http.ResponseWriter, r *http.Request, view *node.View) error {
	done, err := s.building(w, r)
	if err != nil {
		return err
	}
	defer done()
	list, err := s.outlines(r, view)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	buf := bufio.NewWriter(&out)
	var ids []protocol.RecordID
	for _, o := range list {
		event, in, err := s.build(r.Context(), serve.Reader(r), o)
		if err != nil {
			return err
		}
		if event == nil {
			continue
		}
		ids = append(ids, in...)
		for _, a := range attributes(event) {
			if a["deleted"] == true {
				continue
			}
			typ, value := text(a["type"]), text(a["value"])
			parts := []string{value}
			if strings.Contains(typ, "|") || typ == "malware-sample" {
				parts = strings.SplitN(value, "|", 2)
			}
			for _, p := range parts {
				sum := md5.Sum([]byte(p))
				fmt.Fprintf(buf, "%x,%s\n", sum, o.uuid)
			}
		}
	}
	if err := buf.Flush(); err != nil {
		return err
	}
	return s.tagged(w, r, out.Bytes(), "text/csv; charset=utf-8", ids)
}

// tagged writes a body under its ETag; nothing is noted where nothing new leaves.
func (s *server) tagged(w http.ResponseWriter, r *http.Request, body []byte, media string, ids []protocol.RecordID) error {
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:16]) + `"`
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "private, no-cache")
	if strings.Contains(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if err := s.disclose(r, "feed "+r.PathValue("view")+" "+r.PathValue("file"), ids); err != nil {
		return err
	}
	w.Header().Set("Content-Type", media)
	_, _ = w.Write(body) // who asked is gone, or reads it
	return nil
}

// attributes returns those of an event and of its objects.
func attributes(event map[string]any) (list []map[string]any) {
	own, _ := event["Attribute"].([]map[string]any)
	list = append(list, own...)
	objects, _ := event["Object"].([]map[string]any)
	for _, o := range objects {
		in, _ := o["Attribute"].([]map[string]any)
		list = append(list, in...)
	}
	return list
}

// text returns a property of an event that is being built as text: some are as they were written.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.RawMessage:
		return core.Fields{"": v}.Text("")
	case bool:
		return fmt.Sprint(v)
	}
	return ""
}
