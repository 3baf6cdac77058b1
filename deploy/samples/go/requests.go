// The arguments of requests that several parts make.
package main

import (
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

func (g *group) query(from, to string, count int64, idle time.Duration) *redis.XPendingExtArgs {
	query := redis.XPendingExtArgs{Stream: g.stream, Group: g.name, Start: from, End: to, Count: count}
	query.Idle = idle
	return &query
}

func (g *group) claim(idle time.Duration, ids ...string) *redis.XClaimArgs {
	own := redis.XClaimArgs{Stream: g.stream, Group: g.name, Consumer: g.id, MinIdle: idle}
	own.Messages = ids
	return &own
}

// isHeldOverHTTP tells if a member over HTTP has the event: for the time in the name of its consumer, in ms.
func isHeldOverHTTP(row redis.XPendingExt) bool {
	var timeout int64
	fmt.Sscanf(row.Consumer, "relay:http:%d:", &timeout)
	return row.Idle.Milliseconds() < timeout
}
