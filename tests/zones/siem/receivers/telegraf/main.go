// Telegraf's own syslog input, each message a line on standard output: telegraf octet-counting|non-transparent ADDRESS.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/plugins/inputs/syslog"
)

// What the input calls of each; anything else would be nil and end the program.
type logger struct{ telegraf.Logger }

func (logger) Infof(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

type accumulator struct {
	telegraf.Accumulator
	writing sync.Mutex
	out     *json.Encoder
}

func (to *accumulator) AddFields(_ string, fields map[string]any, tags map[string]string, _ ...time.Time) {
	to.writing.Lock()
	defer to.writing.Unlock()
	attributes := map[string]string{}
	if hostname, ok := tags["hostname"]; ok {
		attributes["hostname"] = hostname
	}
	check(to.out.Encode(map[string]any{"body": fields["message"], "attributes": attributes, "msgid": fields["msgid"]}))
}

func (*accumulator) AddError(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	input := &syslog.Syslog{Address: "tcp://" + os.Args[2], Framing: os.Args[1], Log: logger{}}
	check(input.Init())
	check(input.Start(&accumulator{out: json.NewEncoder(os.Stdout)}))
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	<-stop
	input.Stop()
}
