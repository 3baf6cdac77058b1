// Handing events back to the group.
package main

import (
	"log"
	"slices"

	"github.com/redis/go-redis/v9"
)

const returned = "relay:returned"            // the consumer that has what members handed back,
const longIdle = 10 * 365 * 24 * 3600 * 1000 // as if it were idle for ten years (in ms)

// handBack gives all but the current event to the member that asks next. What was not begun does not count.
func (g *group) handBack() error {
	query := redis.XPendingExtArgs{Stream: g.stream, Group: g.name, Start: "-", End: "+", Count: 100}
	query.Consumer = g.id
	rows, err := g.XPendingExt(always, &query).Result()
	rows = slices.DeleteFunc(rows, func(row redis.XPendingExt) bool { return row.ID == g.current })
	if err != nil {
		return err
	} else if len(rows) == 0 {
		g.unbegun = nil
		return g.savePlace()
	}
	for _, row := range rows {
		if slices.Contains(g.unbegun, row.ID) {
			row.RetryCount--
		}
		claim := []any{"XCLAIM", g.stream, g.name, returned, 0, row.ID, "IDLE", longIdle, "JUSTID"}
		moved, err := g.Do(always, append(claim, "RETRYCOUNT", row.RetryCount)...).Slice()
		if err != nil {
			return err
		} else if len(moved) == 0 {
			log.Printf("%s was trimmed before it was handled", g.entry(row.ID))
		}
	}
	return g.handBack()
}

// leave ends the membership.
func (g *group) leave() error {
	if g.Client == nil { // it never joined
		return nil
	} else if err := g.handBack(); err != nil {
		return err
	}
	return g.XGroupDelConsumer(always, g.stream, g.name, g.id).Err()
}
