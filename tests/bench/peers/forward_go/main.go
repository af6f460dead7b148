// A forwarder in Go of the published design, as a peer to measure against.
//
//	forward -listen IP:PORT -inner IP:PORT -next IP:PORT
//
// One goroutine per socket, each locked to its thread; ReadFromUDPAddrPort into one buffer, a map
// by netip.AddrPort, WriteToUDPAddrPort. No allocation per packet. It has less to do than the
// relay: a flow is made by any first packet, and nothing is verified, counted or forgotten.
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"log"
	"net"
	"net/netip"
	"runtime"
	"sync"
)

const (
	headerLength = 38
	magic        = 0x56EC
	bufferLength = 4 << 20
	roomLength   = 2048
)

type flow struct {
	header [headerLength]byte
	next   netip.AddrPort
}

type table struct {
	mutex sync.RWMutex
	flows map[netip.AddrPort]*flow
}

func (t *table) get(client netip.AddrPort) *flow {
	t.mutex.RLock()
	found := t.flows[client]
	t.mutex.RUnlock()
	return found
}

func (t *table) make(client, proxy, next netip.AddrPort) *flow {
	made := &flow{next: next}
	binary.BigEndian.PutUint16(made.header[:], magic)
	from, to := client.Addr().As16(), proxy.Addr().As16()
	copy(made.header[2:], from[:])
	copy(made.header[18:], to[:])
	binary.BigEndian.PutUint16(made.header[34:], client.Port())
	binary.BigEndian.PutUint16(made.header[36:], proxy.Port())
	t.mutex.Lock()
	t.flows[client] = made
	t.mutex.Unlock()
	return made
}

func up(public, inner *net.UDPConn, flows *table, next netip.AddrPort) {
	runtime.LockOSThread()
	proxy := public.LocalAddr().(*net.UDPAddr).AddrPort()
	room := make([]byte, roomLength)
	for {
		length, client, err := public.ReadFromUDPAddrPort(room[headerLength:])
		if err != nil {
			continue
		}
		found := flows.get(client)
		if found == nil {
			found = flows.make(client, proxy, next)
		}
		copy(room, found.header[:])
		inner.WriteToUDPAddrPort(room[:headerLength+length], found.next)
	}
}

func down(public, inner *net.UDPConn, flows *table) {
	runtime.LockOSThread()
	room := make([]byte, roomLength)
	for {
		length, _, err := inner.ReadFromUDPAddrPort(room)
		if err != nil || length < headerLength || binary.BigEndian.Uint16(room) != magic {
			continue
		}
		host := netip.AddrFrom16(*(*[16]byte)(room[2:18])).Unmap()
		client := netip.AddrPortFrom(host, binary.BigEndian.Uint16(room[34:]))
		if flows.get(client) == nil {
			continue
		}
		public.WriteToUDPAddrPort(room[headerLength:length], client)
	}
}

func open(address string) *net.UDPConn {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
	if err != nil {
		log.Fatal(err)
	}
	conn.SetReadBuffer(bufferLength)
	conn.SetWriteBuffer(bufferLength)
	return conn
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "public address")
	inside := flag.String("inner", "127.0.0.1:0", "inner address")
	next := flag.String("next", "", "where packets go")
	flag.Parse()
	public, inner := open(*listen), open(*inside)
	flows := &table{flows: map[netip.AddrPort]*flow{}}
	format := "{\"event\": \"started\", \"listen\": [\"%s\"], \"inner\": \"%s\"}\n"
	fmt.Printf(format, public.LocalAddr(), inner.LocalAddr())
	go down(public, inner, flows)
	up(public, inner, flows, netip.MustParseAddrPort(*next))
}
