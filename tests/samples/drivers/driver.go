// The sample with a handler that tests control: the chat of an event says what happens to it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

func init() {
	printEvent := handle
	handle = func(event redis.XMessage, deliveries int64) error {
		if err := printEvent(event, deliveries); err != nil {
			return err
		}
		what, duration, _ := strings.Cut(event.Values["chat"].(string), ":")
		switch what {
		case "slow":
			pause, _ := time.ParseDuration(duration + "ms")
			time.Sleep(pause)
		case "crash":
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		case "fail":
			return errors.New("the handler failed")
		case "reject":
			return fmt.Errorf("%w: no such order", errRejected)
		}
		return json.NewEncoder(os.Stdout).Encode(map[string]any{"done": event.Values["id"]})
	}
}
