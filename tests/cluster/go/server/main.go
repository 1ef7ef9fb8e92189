// The application teams' server: any TCP connection is answered as by an HTTP server that has one page, or with what it
// said; each datagram goes back from where it came to. `server PORT`, with the pod's addresses in ADDRESSES.
package main

import (
	"bytes"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// As long as others may still be sent here after it was told to end.
const lameDuck = 5 * time.Second

var (
	get  = []byte("GET ")
	page = []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
)

func main() {
	port := os.Args[1]
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	listener, err := net.Listen("tcp", ":"+port) // both families; its queue is as long as the kernel lets it be
	if err != nil {
		log.Fatal(err)
	}
	go accept(listener)
	for _, address := range strings.Split(os.Getenv("ADDRESSES"), ",") {
		socket, err := net.ListenPacket("udp", net.JoinHostPort(address, port))
		if err != nil {
			log.Fatal(err)
		}
		go echo(socket)
	}
	<-ended
	time.Sleep(lameDuck)
}

func accept(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Print(err) // as when it has too many: the next may be taken again
			time.Sleep(10 * time.Millisecond)
			continue
		}
		go serve(connection)
	}
}

func serve(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, 4096)
	for {
		count, err := connection.Read(buffer)
		if err != nil {
			return
		}
		answer := buffer[:count]
		if bytes.HasPrefix(answer, get) {
			answer = page
		}
		if _, err := connection.Write(answer); err != nil {
			return
		}
	}
}

func echo(socket net.PacketConn) {
	buffer := make([]byte, 65536)
	for {
		count, sender, err := socket.ReadFrom(buffer)
		if err != nil {
			continue
		}
		socket.WriteTo(buffer[:count], sender)
	}
}
