// Events that Redis trimmed before the group read them. There is nothing to change here.
package main

import (
	"fmt"
	"log"

	"github.com/redis/go-redis/v9"
)

func isBefore(id, other string) bool {
	var ms, sequence, otherMs, otherSequence uint64
	fmt.Sscanf(id, "%d-%d", &ms, &sequence)
	fmt.Sscanf(other, "%d-%d", &otherMs, &otherSequence)
	return ms < otherMs || ms == otherMs && sequence < otherSequence
}

// tellMissed says how many were missed, from what Redis said right before a read.
func (g *group) tellMissed(stream *redis.XInfoStream, groups []redis.XInfoGroup) {
	trimmed := stream.EntriesAdded - stream.Length
	for _, row := range groups {
		missed := trimmed - max(row.EntriesRead, g.told)
		if row.Name != g.name || row.EntriesRead == 0 || missed <= 0 {
			continue // Redis does not know EntriesRead for a while after the group was made again
		}
		if isBefore(row.LastDeliveredID, stream.RecordedFirstEntryID) {
			log.Printf("%d events were trimmed before they were read", missed)
			g.told = trimmed
		}
	}
}
