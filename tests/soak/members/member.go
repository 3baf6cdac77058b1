// A member in Go, on the sample consumer: tells what it begins and ends on its output.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

func setting(name string) float64 {
	value, err := strconv.ParseFloat(os.Getenv(name), 64)
	if err != nil {
		panic(name)
	}
	return value
}

// tell writes a line that is whole, and there at once, whatever happens next.
func tell(words ...any) {
	if _, err := os.Stdout.WriteString(fmt.Sprintln(words...)); err != nil {
		panic(err)
	}
}

func init() {
	poison, slow := int(setting("SOAK_POISON_EVERY")), int(setting("SOAK_SLOW_EVERY"))
	// Treats an event by its number (tests/soak/options.py).
	handle = func(event redis.XMessage, deliveries int64) error {
		id := event.Values["id"].(string)
		number, err := strconv.Atoi(id[strings.LastIndex(id, "-")+1:])
		if err != nil {
			panic(err)
		}
		tell("begun", id, event.ID, deliveries)
		if poison > 0 && number%poison == 2*poison/3 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // it has a moment to live
		}
		if poison > 0 && number%poison == poison/3 {
			tell("failed", id)
			return errors.New("this event cannot be handled")
		}
		seconds := setting("SOAK_SECONDS")
		if slow > 0 && number%slow == slow/2 {
			seconds = setting("SOAK_SLOW_SECONDS")
		}
		time.Sleep(time.Duration(seconds * float64(time.Second)))
		tell("done", id)
		return nil
	}
}
