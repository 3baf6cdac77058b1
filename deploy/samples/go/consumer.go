// A member of a consumer group of one topic of the relay; README.md says how to run and change it.
// An event may come twice: handle each id once, for example by a unique key that your transaction inserts.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// errRejected is for handlers to return: the event becomes a dead letter at once.
var errRejected = errors.New("rejected")

// handle is the place for your work.
var handle = func(event redis.XMessage, deliveries int64) error {
	id, chat := event.Values["id"], event.Values["chat"]
	line := map[string]any{"id": id, "chat": chat, "entry": event.ID, "deliveries": deliveries}
	return json.NewEncoder(os.Stdout).Encode(line)
}

func main() {
	host, _ := os.Hostname()
	m := &member{topic: os.Getenv("TOPIC"), name: os.Getenv("GROUP"), start: cmp.Or(os.Getenv("START"), "0")}
	m.id = cmp.Or(os.Getenv("MEMBER"), fmt.Sprintf("%s-%d", host, os.Getpid())) // no other process has it
	seconds, err1 := strconv.ParseFloat(cmp.Or(os.Getenv("CLAIM_AFTER"), "60"), 64)
	most, err2 := strconv.ParseInt(cmp.Or(os.Getenv("MAX_DELIVERIES"), "10"), 10, 64)
	err3 := m.open(cmp.Or(os.Getenv("REDIS_URL"), "redis://127.0.0.1:6379"))
	if err := errors.Join(err1, err2, err3); err != nil {
		log.Fatal(err)
	}
	isReserved := strings.HasPrefix(m.name, "push:") || strings.HasPrefix(m.name, "relay:")
	if m.topic == "" || m.name == "" || isReserved {
		log.Fatal("set TOPIC, and GROUP to your own name")
	}
	if most == 0 { // no limit
		most = math.MaxInt64
	}
	m.claimAfter, m.maxDeliveries = time.Duration(seconds*float64(time.Second)), most
	m.consume()
}
