package core

import (
	"strconv"
	"strings"
	"time"

	"github.com/entente-mesh/entente/protocol"
	"github.com/entente-mesh/entente/protocol/stix"
)

// clusterTypes are the STIX types of clusters, by the type of their galaxy, as misp-stix has them.
// Other clusters are x-misp-galaxy-cluster.
var clusterTypes = map[string]string{
	"mitre-attack-pattern": "attack-pattern", "mitre-enterprise-attack-attack-pattern": "attack-pattern",
	"mitre-mobile-attack-attack-pattern": "attack-pattern", "mitre-pre-attack-attack-pattern": "attack-pattern",
	"mitre-course-of-action": "course-of-action", "mitre-enterprise-attack-course-of-action": "course-of-action",
	"mitre-mobile-attack-course-of-action": "course-of-action",
	"mitre-intrusion-set":                  "intrusion-set", "mitre-enterprise-attack-intrusion-set": "intrusion-set",
	"mitre-mobile-attack-intrusion-set": "intrusion-set", "mitre-pre-attack-intrusion-set": "intrusion-set",
	"threat-actor": "threat-actor", "microsoft-activity-group": "threat-actor",
	"mitre-malware": "malware", "mitre-enterprise-attack-malware": "malware", "mitre-mobile-attack-malware": "malware",
	"android": "malware", "backdoor": "malware", "banker": "malware", "botnet": "malware", "cryptominers": "malware",
	"malpedia": "malware", "ransomware": "malware", "rat": "malware", "stealer": "malware", "tds": "malware",
	"mitre-tool": "tool", "mitre-enterprise-attack-tool": "tool", "tool": "tool", "exploit-kit": "tool",
}

// clusters makes the objects of galaxies' clusters and returns their ids. The numbers by which STIX
// tells versions apart are made of MISP's.
func (c *converting) clusters(galaxies []Fields, h protocol.Handling, line int) (ids []string) {
	for _, g := range galaxies {
		list, err := g.list("GalaxyCluster")
		if err != nil {
			c.problem(line, "galaxy %s: %v", shown(g.Text("name")), err)
			continue
		}
		head := kept("Galaxy", g)
		delete(head, "GalaxyCluster")
		for _, x := range list {
			name := x.Text("value")
			if name == "" {
				c.problem(line, "galaxy %s: a cluster without a name; left out", shown(g.Text("name")))
				continue
			}
			typ := clusterTypes[g.Text("type")]
			if typ == "" {
				typ = TypeCluster
			}
			id := typ + "--" + ownUUID(x.Text("uuid"), "cluster\x00"+g.Text("type")+"\x00"+name)
			ids = append(ids, id)
			s := newObject(typ, id)
			s.put("created", epoch.Format(stix.TimeFormat)).put("modified", clusterTime(x.Text("version")).Format(stix.TimeFormat))
			s.put("name", name).put("description", x.Text("description"))
			if typ == "malware" {
				s.put("is_family", true)
			}
			s.put("object_marking_refs", markingRefs(h)).put(Prefix+"galaxy_type", g.Text("type")).put(Prefix+"galaxy", head)
			rest := kept("Cluster", x)
			delete(rest, "value")
			delete(rest, "description")
			if !isUUID(x.Text("uuid")) {
				delete(rest, "uuid")
			}
			s.put(Prefix+"cluster", rest)
			if key := string(s.bytes()); !c.seen[key] {
				c.seen[key] = true
				c.add(s, h, line, "")
			}
		}
	}
	return ids
}

// clusterTime turns a cluster's version, a small number or a Unix time, into a time that grows with it.
func clusterTime(version string) time.Time {
	n, err := strconv.ParseInt(version, 10, 64)
	switch {
	case err != nil || n < 0 || n > 253402300799:
		return epoch
	case n > epoch.Unix():
		return time.Unix(n, 0).UTC()
	}
	return epoch.Add(time.Duration(n%1e9) * time.Millisecond)
}

// galaxyLinks makes the relations from an attribute to the clusters that it is marked with.
func (c *converting) galaxyLinks(a *Attribute, source string, h protocol.Handling, at time.Time) {
	for _, target := range c.clusters(a.Galaxies, h, a.Line) {
		verb := "related-to"
		if strings.HasPrefix(source, "indicator--") {
			verb = "indicates"
		}
		s := newObject("relationship", stix.NewID("relationship", "misp\x00"+source+"\x00"+target))
		s.put("created_by_ref", c.org).put("created", c.created(at)).put("modified", at.Format(stix.TimeFormat))
		s.put("relationship_type", verb).put("source_ref", source).put("target_ref", target)
		s.put("object_marking_refs", markingRefs(h)).put(Prefix+"event_uuid", c.id).put(Prefix+"galaxy_link", true)
		c.add(s, h, a.Line, "")
	}
}

// sightings makes the objects of what is said of an attribute's having been seen: a sighting, or of a
// false positive and of an expiration an opinion, as misp-stix writes them.
func (c *converting) sightings(a *Attribute, of string, h protocol.Handling) {
	for _, s := range a.Sightings {
		if o := c.sighting(s, of, h, a.Line); o != nil {
			c.add(o, h, a.Line, "")
		}
	}
}

// Types of sightings.
const (
	sightingSeen          = "0"
	sightingFalsePositive = "1"
	sightingExpired       = "2"
)

func (c *converting) sighting(f Fields, of string, h protocol.Handling, line int) *object {
	at := f.Time("date_sighting", c.at)
	when := at.Format(stix.TimeFormat)
	uuid := ownUUID(f.Text("uuid"), of+"\x00sighting\x00"+f.Text("date_sighting")+"\x00"+f.Text("type")+"\x00"+f.Text("source"))
	by := f.object("Organisation")
	org := c.organisation(by, h, line)
	var s *object
	skip := map[string]bool{"uuid": isUUID(f.Text("uuid")), "date_sighting": f.Text("date_sighting") == strconv.FormatInt(at.Unix(), 10), "attribute_uuid": true, "Organisation": true}
	switch typ := f.Text("type"); typ {
	case sightingSeen, "":
		s = newObject("sighting", "sighting--"+uuid)
		s.put("created_by_ref", c.org).put("created", when).put("modified", when).put("first_seen", when).put("last_seen", when).put("count", 1)
		s.put("sighting_of_ref", of)
		if org != "" {
			s.put("where_sighted_refs", []string{org})
		}
	case sightingFalsePositive, sightingExpired:
		said := map[string]string{sightingFalsePositive: "strongly-disagree", sightingExpired: "disagree"}[typ]
		s = newObject("opinion", "opinion--"+uuid)
		s.put("created_by_ref", c.org).put("created", when).put("modified", when).put("opinion", said).put("object_refs", []string{of})
		if name := by.Text("name"); name != "" {
			s.put("authors", []string{name})
		}
	default:
		c.problem(line, "a sighting of the type %s is not known; left out", shown(typ))
		return nil
	}
	s.put("object_marking_refs", markingRefs(h)).put(Prefix+"event_uuid", c.id)
	s.fields("Sighting", f, skip)
	if len(by) > 0 {
		s.put(Prefix+"organisation", map[string]string{"name": by.Text("name"), "uuid": by.Text("uuid")})
	}
	return s
}

// Sighting makes the objects of a sighting that stands by itself: the organisation that saw it, and it.
func Sighting(f Fields, of, event string, h protocol.Handling) (made []Made, err error) {
	c := &converting{event: &Event{Fields: Fields{}, Lost: map[string]int{}}, id: event, seen: map[string]bool{}, at: epoch, date: epoch}
	if s := c.sighting(f, of, h, 0); s != nil {
		c.add(s, h, 0, "")
	}
	if len(c.Problems) > 0 {
		return nil, protocol.Errorf(protocol.ErrMalformed, "%s", c.Problems[0].Text)
	}
	return c.Made, nil
}
