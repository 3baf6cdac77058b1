// Push handler in Go with net/http: verifies what the relay signed, handles each event once, and responds.
//
//	WEBHOOK_SECRET="whsec_..." go run . -listen 127.0.0.1:9000
//
// Respond only when the event is safe: after 2xx the relay never sends it again, and without a response in ten seconds, or
// after 5xx, it sends it again later. Work that takes longer belongs in a queue that survives a restart; handle then only
// writes to it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	maxBody    = 10 << 20
	maxHandled = 100_000
)

type event struct {
	Type string          `json:"event_type"`
	Data json.RawMessage `json:"data"`
}

// handle does your work; return an error to get the event again.
func handle(_ context.Context, id string, e event) error {
	_, err := fmt.Println("handled", id, e.Type)
	return err
}

// seen has the ids of the last events that were handled, and of those that are being handled now. It is in memory: gone
// after a restart, and each process has its own. To have each event once whatever happens, keep the id in your database
// instead, as the primary key of a table, written in the same transaction as what the event changes.
type seen struct {
	mutex   sync.Mutex
	handled map[string]bool // false while it is being handled
	order   []string        // of the handled ones, a ring
	next    int
}

// begin returns true if the event is new; else isDone says if it was handled.
func (s *seen) begin(id string) (isNew, isDone bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	isDone, isKnown := s.handled[id]
	if !isKnown {
		s.handled[id] = false
	}
	return !isKnown, isDone
}

func (s *seen) end(id string, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if err != nil {
		delete(s.handled, id)
		return
	}
	delete(s.handled, s.order[s.next])
	s.order[s.next] = id
	s.next = (s.next + 1) % len(s.order)
	s.handled[id] = true
}

type receiver struct {
	webhooks []*standardwebhooks.Webhook
	seen     seen
}

func (r *receiver) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	// The signature is about these bytes, not about the JSON in them.
	body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, maxBody))
	if err != nil {
		http.Error(response, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	if err := r.verify(body, request.Header); err != nil {
		http.Error(response, "not signed by the relay: "+err.Error(), http.StatusUnauthorized)
		return
	}
	var e event
	if err := json.Unmarshal(body, &e); err != nil || e.Type == "" {
		http.Error(response, "not an event of Linq", http.StatusBadRequest)
		return
	}
	id := request.Header.Get(standardwebhooks.HeaderWebhookID)
	isNew, isDone := r.seen.begin(id)
	if !isNew && !isDone { // the relay did not wait for the first response; let it ask again
		http.Error(response, "this event is being handled", http.StatusServiceUnavailable)
		return
	}
	if isNew {
		err = errors.New("handle panicked")
		defer func() { r.seen.end(id, err) }()
		// Without the cancellation of the request: what was begun is finished, also if the relay stops waiting.
		err = handle(context.WithoutCancel(request.Context()), id, e)
		if err != nil {
			log.Printf("event %s failed: %v", id, err)
			http.Error(response, "failed", http.StatusInternalServerError)
			return
		}
	}
	response.WriteHeader(http.StatusNoContent)
}

// verify returns nil if one of the secrets signed the body in the last five minutes.
func (r *receiver) verify(body []byte, header http.Header) (err error) {
	for _, webhook := range r.webhooks {
		if err = webhook.Verify(body, header); err == nil {
			return nil
		}
	}
	return err
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9000", "address and port")
	flag.Parse()
	r := &receiver{seen: seen{handled: map[string]bool{}, order: make([]string, maxHandled)}}
	// One secret; while it is rotated two, separated by a space: either may have signed.
	for _, secret := range strings.Fields(os.Getenv("WEBHOOK_SECRET")) {
		webhook, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			log.Fatalf("WEBHOOK_SECRET: %v", err)
		}
		r.webhooks = append(r.webhooks, webhook)
	}
	if len(r.webhooks) == 0 {
		log.Fatal(`WEBHOOK_SECRET is empty; set it to the secret of the subscription, "whsec_..."`)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /webhooks/linq", r)
	server := &http.Server{Addr: *listen, Handler: mux, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	go func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	<-stop.Done()
	ending, cancelEnding := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancelEnding()
	if err := server.Shutdown(ending); err != nil { // after the responses that are due
		log.Fatal(err)
	}
}
