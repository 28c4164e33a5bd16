package apitest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// controlPrefix is where the program is steered from outside. Requests there
// need no credentials, meet no faults and are not counted.
const controlPrefix = "/_control/"

// control serves
//
//	GET    /_control/faults            the faults set, with their hits
//	POST   /_control/faults            adds one fault or a list of them (JSON, see ParseFault)
//	DELETE /_control/faults            removes all
//	GET    /_control/stats             Stats; POST resets them and the log
//	GET    /_control/log               the log, one JSON document a line
//	GET    /_control/records           Record of each, one JSON document a line (?from=0&count=100)
//	GET    /_control/export/CODE.csv   the platform's export (?variant=platform)
//	GET    /_control/names/KIND.csv    names: vehicle, …, assets, sites (?variant=hash)
func (s *Server) control(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, controlPrefix)
	place, name, _ := strings.Cut(path, "/")
	name = strings.TrimSuffix(name, ".csv")
	var err error
	switch r.Method + " " + place {
	case "GET faults":
		writeJSON(w, s.faults.list())
	case "POST faults":
		err = s.addFaultsFrom(r.Body)
	case "DELETE faults":
		s.ClearFaults()
	case "GET stats":
		writeJSON(w, s.Stats())
	case "POST stats":
		s.ResetStats()
	case "GET log":
		for _, e := range s.Log() {
			writeJSON(w, e)
		}
	case "GET records":
		s.writeRecords(w, r)
	case "GET export":
		err = s.exportOver(w, name, r.URL.Query().Get("variant"))
	case "GET names":
		err = s.namesOver(w, name, r.URL.Query().Get("variant"))
	default:
		http.NotFound(w, r)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func writeJSON(w io.Writer, v any) {
	_ = json.NewEncoder(w).Encode(v) // the client may leave, as always
}

func (s *Server) addFaultsFrom(body io.Reader) error {
	raw, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("read faults: %w", err)
	}
	var list []Fault
	if err := json.Unmarshal(raw, &list); err != nil {
		var one Fault
		if err := json.Unmarshal(raw, &one); err != nil {
			return err
		}
		list = []Fault{one}
	}
	for _, f := range list {
		if _, err := s.faults.add(f); err != nil {
			return err
		}
	}
	return nil
}

// faultStatus is a fault with what it has done.
type faultStatus struct {
	ID    int    `json:"id"`
	Hits  int64  `json:"hits"`
	Fault *Fault `json:"fault"`
}

func (b *faultBoard) list() []faultStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []faultStatus{}
	for _, f := range b.faults {
		shown := f.Fault
		out = append(out, faultStatus{f.id, f.hits, &shown})
	}
	return out
}

func (s *Server) writeRecords(w io.Writer, r *http.Request) {
	whole := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil && n >= 0 {
			return n
		}
		return otherwise
	}
	from := whole("from", 0)
	for i := from; i < min(s.Len(), from+whole("count", 100)); i++ {
		writeJSON(w, s.Record(i))
	}
}
