package line

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Flood is a paced load of valid inner messages, each with its own hash.
type Flood struct {
	Topic string `json:"topic"`
	// Kind is "subtree" (default) or "node_status".
	Kind string `json:"kind"`
	// Count of messages; Rate per second, 0 for a tight loop.
	Count int     `json:"count"`
	Rate  float64 `json:"rate"`
	// Size of the inner JSON in bytes, reached by an unknown member "pad"; 0 for no padding.
	Size int `json:"size"`
	// URLBytes lengthens the base URL to that many bytes, so that what a node passes on grows too.
	URLBytes int `json:"url_bytes"`
	// Run tells the floods of one measurement apart.
	Run uint32 `json:"run"`
}

// floodMagic opens the hash of every flood message; the run, the index and the send time follow.
const floodMagic = 0xf100d5eb

// floodHash is the 64 hex digits of message index: magic, run, index, microseconds, zeros.
func floodHash(run uint32, index int, micros int64) string {
	var hash [32]byte
	binary.BigEndian.PutUint32(hash[0:], floodMagic)
	binary.BigEndian.PutUint32(hash[4:], run)
	binary.BigEndian.PutUint64(hash[8:], uint64(index))
	binary.BigEndian.PutUint64(hash[16:], uint64(micros))
	return hex.EncodeToString(hash[:])
}

// FloodMessage is the inner JSON of message index, padded to f.Size bytes.
func FloodMessage(f Flood, peerID string, index int) ([]byte, error) {
	hash := floodHash(f.Run, index, NowMicros())
	url := "http://127.0.0.1:8090/api/v1"
	if f.URLBytes > len(url)+1 {
		url += "?" + strings.Repeat("u", f.URLBytes-len(url)-1)
	}
	var text string
	switch f.Kind {
	case "", "subtree":
		text = fmt.Sprintf(`{"PeerID":"%s","ClientName":"flood","DataHubURL":"%s","Hash":"%s"`,
			peerID, url, hash)
	case "node_status":
		text = fmt.Sprintf(`{"peer_id":"%s","client_name":"flood","type":"node_status","base_url":"%s",`+
			`"version":"v0.11.0","commit_hash":"","best_block_hash":"%s","best_height":1,"fsm_state":"RUNNING",`+
			`"start_time":%d,"uptime":1.5,"miner_name":"","listen_mode":"full",`+
			`"chain_work":"0000000000000000000000000000000000000000000000000000000000000002","storage":"full"`,
			peerID, url, hash, time.Now().Unix()-2)
	default:
		return nil, fmt.Errorf("flood kind %q is neither subtree nor node_status", f.Kind)
	}
	if f.Size == 0 {
		return []byte(text + "}"), nil
	}
	const around = len(`,"pad":""}`)
	pad := f.Size - len(text) - around
	if pad < 0 {
		return nil, fmt.Errorf("size %d is below the smallest %s message, %d bytes", f.Size, f.Kind, len(text)+around)
	}
	return []byte(text + `,"pad":"` + strings.Repeat("x", pad) + `"}`), nil
}

// Start publishes the load, each message at its due time, and tells what it cost.
func (f Flood) Start(peerID string, publish func(inner []byte) error) (Event, error) {
	before := Usage()
	start := time.Now()
	failed := 0
	for index := range f.Count {
		if f.Rate > 0 {
			due := start.Add(time.Duration(float64(index) / f.Rate * float64(time.Second)))
			time.Sleep(time.Until(due))
		}
		inner, err := FloodMessage(f, peerID, index)
		if err != nil {
			return nil, err
		}
		if publish(inner) != nil {
			failed++
		}
	}
	result := Usage()
	result["cpu_used_us"] = result["cpu_us"].(int64) - before["cpu_us"].(int64)
	result["run_used_us"] = result["run_us"].(int64) - before["run_us"].(int64)
	result["sent"] = f.Count - failed
	result["failed"] = failed
	result["elapsed_us"] = time.Since(start).Microseconds()
	return result, nil
}
