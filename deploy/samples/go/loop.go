// The loops of a member, one for each shard, until a signal stops them.
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

func (m *member) consume() {
	ctx, release := signal.NotifyContext(always, syscall.SIGTERM, syscall.SIGINT)
	defer release()
	m.turn = make(chan error, 1)
	m.turn <- nil
	m.read(ctx, 1)
	m.loops.Wait()
}

// loop reads one shard.
func (g *group) loop(ctx context.Context) {
	defer g.loops.Done()
	for ctx.Err() == nil {
		err := g.join(ctx)
		for err == nil && ctx.Err() == nil {
			err = g.work(ctx)
		}
		if err != nil && fatal.MatchString(err.Error()) {
			log.Fatal(err)
		} else if err != nil {
			log.Printf("%s: %v; trying again", g.stream, err)
			time.Sleep(time.Second)
		}
	}
	if err := g.leave(); err != nil {
		log.Print(err)
	}
}
