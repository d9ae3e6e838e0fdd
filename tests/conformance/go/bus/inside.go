package bus

import (
	"net"
	"reflect"
	"unsafe"

	p2p "github.com/bsv-blockchain/go-p2p-message-bus"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// The library shows neither its host nor its router. A test must know the bound port, who is
// connected and who is subscribed, so these are read from its unexported fields.

func field[T any](client p2p.Client, name string) T {
	value := reflect.ValueOf(client).Elem().FieldByName(name)
	return reflect.NewAt(value.Type(), unsafe.Pointer(value.UnsafeAddr())).Elem().Interface().(T)
}

func hostOf(client p2p.Client) host.Host { return field[host.Host](client, "host") }

func routerOf(client p2p.Client) *pubsub.PubSub { return field[*pubsub.PubSub](client, "pubsub") }

// topicOf is the joined topic; only to be called once every Subscribe has run, since the
// library's map is then left alone.
func topicOf(client p2p.Client, name string) *pubsub.Topic {
	return field[map[string]*pubsub.Topic](client, "topics")[name]
}

func listensOn(h host.Host, port int) bool {
	for _, address := range h.Network().ListenAddresses() {
		if isTCP4(address, port) {
			return true
		}
	}
	return false
}

func isTCP4(address multiaddr.Multiaddr, port int) bool {
	plain, err := manet.ToNetAddr(address)
	if err != nil {
		return false
	}
	tcp, ok := plain.(*net.TCPAddr)
	if !ok || tcp.IP.To4() == nil {
		return false
	}
	return tcp.Port == port
}
