// The sample with a handler that tests control: the chat of an event begins with what happens to it.
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
		way, _, _ := strings.Cut(event.Values["chat"].(string), "-")
		switch way {
		case "hold":
			for _, err := os.Stat(os.Getenv("RELEASE")); err != nil; _, err = os.Stat(os.Getenv("RELEASE")) {
				time.Sleep(20 * time.Millisecond)
			}
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
