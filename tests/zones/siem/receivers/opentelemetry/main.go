// OpenTelemetry's own reader of the tcplog and syslog receivers (pkg/stanza), with each entry's body as a line on
// standard output: receiver tcp|syslog|syslog-octets ADDRESS.
package main

import (
	"fmt"
	"os"
	"os/signal"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/stanza/operator"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/stanza/operator/input/syslog"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/stanza/operator/input/tcp"
	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/stanza/operator/output/stdout"
	"go.opentelemetry.io/collector/component/componenttest"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	kind, address := os.Args[1], os.Args[2]
	set := componenttest.NewNopTelemetrySettings()
	out, err := stdout.NewConfig("out").Build(set)
	check(err)
	var in operator.Operator
	if kind == "tcp" {
		config := tcp.NewConfig()
		config.ListenAddress = address
		config.OutputIDs = []string{"out"}
		in, err = config.Build(set)
	} else {
		config := syslog.NewConfig()
		config.TCP = &tcp.NewConfig().BaseConfig
		config.TCP.ListenAddress = address
		config.Protocol = "rfc5424"
		config.EnableOctetCounting = kind == "syslog-octets"
		config.OutputIDs = []string{"out"}
		in, err = config.Build(set)
	}
	check(err)
	check(in.SetOutputs([]operator.Operator{out}))
	check(in.Start(nil))
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	<-stop
	check(in.Stop())
}
