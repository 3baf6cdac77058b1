// The loop of a member: one event after the other, until a signal stops it.
package main

import (
	"context"
	"log"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

var always = context.Background() // for commands: a signal to stop interrupts none

// fatal is the text of errors that end the process; all others of Redis are waited out.
var fatal = regexp.MustCompile("WRONGPASS|NOAUTH|NOPERM|WRONGTYPE|no topic")

func (g *group) consume(start string) error {
	ctx, release := signal.NotifyContext(always, syscall.SIGTERM, syscall.SIGINT)
	defer release()
	for ctx.Err() == nil {
		err := g.join(start)
		for err == nil && ctx.Err() == nil {
			err = g.work(ctx)
		}
		if err != nil && fatal.MatchString(err.Error()) {
			return err
		} else if err != nil {
			log.Printf("%v; trying again", err)
			time.Sleep(time.Second)
		}
	}
	if err := g.handBack(); err != nil {
		return err
	}
	return g.XGroupDelConsumer(always, g.stream, g.name, g.member).Err()
}

// work handles one event that comes again, else a batch of new ones.
func (g *group) work(ctx context.Context) error {
	events, before, err := g.takeOver()
	if err == nil && len(events) == 0 {
		events, err = g.readNew(10, 500*time.Millisecond)
	}
	for _, event := range events {
		if err == nil && ctx.Err() == nil {
			err = g.deliver(ctx, event, before)
		}
	}
	return err
}
