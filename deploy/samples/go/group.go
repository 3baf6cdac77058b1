// A member of a group, and how it joins.
package main

import (
	"fmt"
	"log"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

type group struct {
	*redis.Client
	topic, name, member, stream, places, dead string

	claimAfter    time.Duration
	maxDeliveries int64
	unbegun       []string // ids of the events that were read, and wait
	current       string   // id of the event that is being handled
	savedAt       time.Time
	told          int64 // events that were trimmed when tellMissed last said so
}

// join makes the group of a topic that the relay has: where it was lost, or a new one at start.
func (g *group) join(start string) error {
	known, err := g.SMembers(always, "relay:topics").Result()
	if len(known) > 0 && !slices.Contains(known, g.topic) {
		return fmt.Errorf("no topic %q (known: %s)", g.topic, strings.Join(known, ", "))
	} else if err != nil {
		return err
	}
	place, err := g.HGet(always, g.places, g.name).Result()
	if err == redis.Nil {
		place = start
	} else if err != nil {
		return err
	}
	if err = g.XGroupCreateMkStream(always, g.stream, g.name, place).Err(); err == nil {
		log.Printf("made the group %q at %s", g.name, place)
	} else if !redis.HasErrorPrefix(err, "BUSYGROUP") {
		return err
	}
	return g.handBack() // what a connection that was lost, or a killed process of this name, had
}
