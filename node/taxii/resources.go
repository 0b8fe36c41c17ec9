package taxii

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"crypto/sha256"
)

// Media types (TAXII 1.6.8).
const (
	mediaType = "application/taxii+json;version=2.1"
	stix21    = "application/stix+json;version=2.1"
)

// The resources of TAXII 2.1, sections 3 to 5, as they are written and read.
type (
	discovery struct {
		Title       string   `json:"title"`
		Description string   `json:"description,omitempty"`
		Contact     string   `json:"contact,omitempty"`
		Default     string   `json:"default,omitempty"`
		Roots       []string `json:"api_roots,omitempty"`
	}
	apiRoot struct {
		Title       string   `json:"title"`
		Description string   `json:"description,omitempty"`
		Versions    []string `json:"versions"`
		MaxContent  int64    `json:"max_content_length"`
	}
	collections struct {
		Collections []Collection `json:"collections,omitempty"`
	}
	envelope struct {
		More     bool              `json:"more"`
		Next     string            `json:"next,omitempty"`
		Objects  []json.RawMessage `json:"objects"`
		Handling []handling        `json:"x_entente_handling,omitempty"`
	}
	manifest struct {
		More    bool             `json:"more"`
		Next    string           `json:"next,omitempty"`
		Objects []manifestRecord `json:"objects"`
	}
	manifestRecord struct {
		ID        string    `json:"id"`
		DateAdded string    `json:"date_added"`
		Version   string    `json:"version"`
		MediaType string    `json:"media_type,omitempty"`
		Handling  *handling `json:"x_entente_handling,omitempty"`
	}
	versions struct {
		More     bool     `json:"more"`
		Next     string   `json:"next,omitempty"`
		Versions []string `json:"versions"`
	}
	// status is a status resource (4.3.1).
	status struct {
		ID           string         `json:"id"`
		Status       string         `json:"status"` // complete: a request is answered when it is done
		At           string         `json:"request_timestamp"`
		Total        int            `json:"total_count"`
		SuccessCount int            `json:"success_count"`
		Successes    []statusDetail `json:"successes,omitempty"`
		FailureCount int            `json:"failure_count"`
		Failures     []statusDetail `json:"failures,omitempty"`
		PendingCount int            `json:"pending_count"`
	}
	statusDetail struct {
		ID      string `json:"id"`
		Version string `json:"version"`
		Message string `json:"message,omitempty"`
	}
	errorMessage struct {
		Title       string `json:"title"`
		Description string `json:"description,omitempty"`
		ErrorCode   string `json:"error_code,omitempty"`
		HTTPStatus  string `json:"http_status"`
	}
	// handling is what goes with an object and does not stand in it: objects are signed as they are.
	// It is a custom property (TAXII 7.1) of the resource around them.
	handling struct {
		ID           string   `json:"id"` // STIX id
		Record       string   `json:"record"`
		Originator   string   `json:"originator"`
		TLP          string   `json:"tlp"`
		PAP          string   `json:"pap,omitempty"`
		Countries    []string `json:"countries,omitempty"`
		PersonalData string   `json:"personal_data"`
		Purposes     []string `json:"purposes,omitempty"`
		Onward       string   `json:"onward"`
	}
)

// Collection is a collection resource (TAXII 5.2.1).
type Collection struct {
	ID          string   `json:"id"`
	Title       string   `json:"title"`
	Description string   `json:"description,omitempty"`
	Alias       string   `json:"alias,omitempty"`
	CanRead     bool     `json:"can_read"`
	CanWrite    bool     `json:"can_write"`
	MediaTypes  []string `json:"media_types,omitempty"`

	// URL is where the client found it, ending in "/". It is not part of the resource.
	URL string `json:"-"`
}

// identifier makes a UUID of version 4 (TAXII 2) that is the same whenever and by whichever node of
// an organisation it is made: its bits are pseudo-random, from SHA-256 over what is named. Version 5
// would say how they came to be, but the standard wants 4.
func identifier(parts ...string) string {
	h := sha256.New()
	fmt.Fprintf(h, "entente/taxii/id/v1%q", parts)
	return asUUID(h.Sum(nil))
}

func asUUID(b []byte) string {
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// accepts reports whether a client takes what this server sends (TAXII 1.6.8, 3.1). One that says
// nothing takes anything.
func accepts(h http.Header) bool {
	list := h.Values("Accept")
	for _, line := range list {
		for item := range strings.SplitSeq(line, ",") {
			if item = strings.TrimSpace(item); item == "" {
				continue
			}
			typ, params, err := mime.ParseMediaType(item)
			if err != nil || refusedQuality(params["q"]) {
				continue
			}
			switch typ {
			case "*/*", "application/*":
				return true
			case "application/taxii+json", "application/stix+json":
				if v, ok := params["version"]; !ok || v == "2.1" {
					return true
				}
			}
		}
	}
	return strings.TrimSpace(strings.Join(list, "")) == ""
}

// refusedQuality reports a weight of zero: not acceptable (RFC 7231, 5.3.1).
func refusedQuality(q string) bool {
	f, err := strconv.ParseFloat(q, 64)
	return err == nil && f == 0
}

// isTAXII reports whether a body is said to be of TAXII 2.1.
func isTAXII(contentType string) bool {
	typ, params, err := mime.ParseMediaType(contentType)
	if err != nil || typ != "application/taxii+json" {
		return false
	}
	v, ok := params["version"]
	return !ok || v == "2.1"
}

// write answers with a resource.
func write(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // a client that went away gets nothing
}

// failure is how a request fails.
type failure struct {
	code int
	text string
}

func (f *failure) Error() string { return f.text }

func failf(code int, format string, args ...any) error {
	return &failure{code, fmt.Sprintf(format, args...)}
}

// writeError answers with an error message (TAXII 3.6.1).
func writeError(w http.ResponseWriter, code int, text string) {
	write(w, code, errorMessage{Title: http.StatusText(code), Description: text, ErrorCode: strings.ReplaceAll(strings.ToLower(http.StatusText(code)), " ", "-"), HTTPStatus: strconv.Itoa(code)})
}
