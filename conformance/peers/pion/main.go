// Pion behind WHIP: it echoes packets of sound and what comes on data channels.
//
// Built from Debian's sources in GOPATH mode, where import paths have no version.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc"
)

const (
	mostCalls  = 200
	offerBytes = 200000
	sdpType    = "application/sdp"
)

type door struct {
	api   *webrtc.API
	lock  sync.Mutex
	calls map[string]*webrtc.PeerConnection
	order []string
	count int
}

// settings holds candidates to one address, and makes the agent lite where that is asked for.
func settings(host string) webrtc.SettingEngine {
	engine := webrtc.SettingEngine{}
	engine.SetIncludeLoopbackCandidate(true)
	engine.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	engine.SetIPFilter(func(ip net.IP) bool { return ip.String() == host })
	engine.SetLite(os.Getenv("PEER_ICE_LITE") != "")
	return engine
}

// ended tells the end of a stream from a packet on it that could not be read.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed)
}

// echoAudio sends each packet that comes on a track back on one of its own.
func echoAudio(peer *webrtc.PeerConnection) error {
	capability := webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2,
	}
	own, err := webrtc.NewTrackLocalStaticRTP(capability, "echo", "echo")
	if err != nil {
		return err
	}
	sender, err := peer.AddTrack(own)
	if err != nil {
		return err
	}
	go func() {
		reports := make([]byte, 1500)
		for {
			if _, _, err := sender.Read(reports); ended(err) {
				return
			}
		}
	}()
	peer.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		go func() {
			reports := make([]byte, 1500)
			for {
				if _, _, err := receiver.Read(reports); ended(err) {
					return
				}
			}
		}()
		for {
			// A packet that cannot be read is an error here, and the track goes on.
			packet, _, err := track.ReadRTP()
			if ended(err) {
				return
			}
			if err != nil {
				continue
			}
			if err := own.WriteRTP(packet); err != nil {
				return
			}
		}
	})
	return nil
}

func echoData(peer *webrtc.PeerConnection) {
	peer.OnDataChannel(func(channel *webrtc.DataChannel) {
		channel.OnMessage(func(message webrtc.DataChannelMessage) {
			var err error
			if message.IsString {
				err = channel.SendText(string(message.Data))
			} else {
				err = channel.Send(message.Data)
			}
			if err != nil {
				log.Print("echo: ", err)
			}
		})
	})
}

// open answers an offer; a call that cannot be answered is closed.
func (d *door) open(offer string) (*webrtc.PeerConnection, string, error) {
	peer, err := d.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, "", err
	}
	answer, err := answerTo(peer, offer)
	if err != nil {
		_ = peer.Close()
		return nil, "", err
	}
	return peer, answer, nil
}

func answerTo(peer *webrtc.PeerConnection, offer string) (string, error) {
	if strings.Contains(offer, "m=audio") {
		if err := echoAudio(peer); err != nil {
			return "", err
		}
	}
	echoData(peer)
	remote := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}
	if err := peer.SetRemoteDescription(remote); err != nil {
		return "", err
	}
	made, err := peer.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(peer)
	if err = peer.SetLocalDescription(made); err != nil {
		return "", err
	}
	<-gathered
	return peer.LocalDescription().SDP, nil
}

func (d *door) remember(peer *webrtc.PeerConnection) string {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.count++
	name := fmt.Sprint(d.count)
	d.calls[name] = peer
	d.order = append(d.order, name)
	if len(d.order) > mostCalls {
		if oldest := d.calls[d.order[0]]; oldest != nil {
			go oldest.Close()
		}
		delete(d.calls, d.order[0])
		d.order = d.order[1:]
	}
	return name
}

func (d *door) post(response http.ResponseWriter, request *http.Request) {
	kind := strings.TrimSpace(strings.Split(request.Header.Get("Content-Type"), ";")[0])
	if kind != sdpType {
		http.Error(response, "an offer is "+sdpType, http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, offerBytes))
	if err != nil {
		http.Error(response, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	peer, answer, err := d.open(string(body))
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	response.Header().Set("Location", "/whip/"+d.remember(peer))
	response.Header().Set("Content-Type", sdpType)
	response.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(response, answer)
}

func (d *door) remove(response http.ResponseWriter, request *http.Request) {
	name := strings.TrimPrefix(request.URL.Path, "/whip/")
	d.lock.Lock()
	peer := d.calls[name]
	delete(d.calls, name)
	d.lock.Unlock()
	if request.Method != http.MethodDelete || peer == nil {
		http.NotFound(response, request)
		return
	}
	_ = peer.Close()
}

func version() string {
	out, err := exec.Command(
		"dpkg-query", "-W", "-f=${Version}", "golang-github-pion-webrtc.v3-dev",
	).Output()
	if err != nil {
		return "unknown"
	}
	return string(out)
}

func ready(url string) error {
	told, err := json.Marshal(map[string]string{"url": url, "version": version()})
	if err != nil {
		return err
	}
	file := os.Getenv("PEER_READY")
	if file == "" {
		fmt.Println(string(told))
		return nil
	}
	if err := os.WriteFile(file+".half", told, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".half", file)
}

func leave() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		told <- syscall.SIGTERM
	}()
	<-told
}

func main() {
	host := os.Getenv("PEER_HOST")
	if host == "" {
		host = "127.0.0.1"
	}
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		log.Fatal(err)
	}
	// An API of one's own has none of the interceptors that a plain connection has, and they are
	// what sends reports.
	registry := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(engine, registry); err != nil {
		log.Fatal(err)
	}
	api := webrtc.NewAPI(
		webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(settings(host)),
		webrtc.WithInterceptorRegistry(registry),
	)
	d := &door{api: api, calls: map[string]*webrtc.PeerConnection{}}
	routes := http.NewServeMux()
	routes.HandleFunc("/whip", d.post)
	routes.HandleFunc("/whip/", d.remove)
	port := os.Getenv("PEER_PORT")
	if port == "" {
		port = "0"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.Serve(listener, routes)) }()
	if err := ready(fmt.Sprintf("http://%s/whip", listener.Addr())); err != nil {
		log.Fatal(err)
	}
	leave()
}
