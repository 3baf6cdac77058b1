// What a member writes down: where the group goes on if it is lost, and dead letters.
package main

import (
	"fmt"
	"log"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// savePlace notes the place before the group's oldest event that is not acknowledged, else its last one.
func (g *group) savePlace() error {
	groups, err := g.XInfoGroups(always, g.stream).Result()
	if err != nil {
		return err
	}
	pending, err := g.XPending(always, g.stream, g.name).Result()
	if err != nil {
		return err
	}
	place := "0"
	for _, other := range groups {
		if other.Name == g.name {
			place = other.LastDeliveredID
		}
	}
	if pending.Count > 0 {
		text, _, _ := strings.Cut(pending.Lower, "-")
		ms, _ := strconv.ParseInt(text, 10, 64)
		place = fmt.Sprintf("%d-%d", ms-1, uint64(math.MaxUint64))
	}
	g.savedAt = time.Now()
	return g.HSet(always, g.places, g.name, place).Err()
}

// bury puts an event into the stream that `relay dead` lists and replays.
func (g *group) bury(event redis.XMessage, deliveries int64, reason string, cause error) error {
	log.Printf("%s, delivery %d: %s: %v", g.entry(event.ID), deliveries, reason, cause)
	letter := maps.Clone(event.Values)
	letter["dead_at"], letter["dead_reason"] = time.Now().UnixMilli(), reason
	letter["dead_error"], letter["dead_entry"] = fmt.Sprintf("%.500s", cause), event.ID
	letter["dead_deliveries"], letter["dead_member"] = deliveries, g.id
	transaction := g.TxPipeline()
	transaction.XAdd(always, &redis.XAddArgs{Stream: g.dead, MaxLen: 100_000, Approx: true, Values: letter})
	transaction.XAck(always, g.stream, g.name, event.ID)
	_, err := transaction.Exec(always)
	return err
}
