package line

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"sync"
)

// Counter is the receiving side of a flood: it counts without writing a line for each message.
type Counter struct {
	mu sync.Mutex
	counts
}

type counts struct {
	on       bool
	received int64
	other    int64
	bytes    int64
	seen     map[uint32][]uint64
	unique   int64
	firstUs  int64
	lastUs   int64
	delays   []int32
	before   Event
}

// Reset empties the counts and switches counting on or off.
func (c *Counter) Reset(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts = counts{on: on, seen: map[uint32][]uint64{}, before: Usage()}
}

// Take counts one inner message. It answers false while counting is off.
func (c *Counter) Take(inner []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on {
		return false
	}
	now := NowMicros()
	c.received++
	c.bytes += int64(len(inner))
	if c.firstUs == 0 {
		c.firstUs = now
	}
	c.lastUs = now
	run, index, sent, ok := floodMark(inner)
	if !ok {
		c.other++
		return true
	}
	words := c.seen[run]
	for uint64(len(words)) <= index/64 {
		words = append(words, 0)
	}
	bit := uint64(1) << (index % 64)
	if words[index/64]&bit == 0 {
		words[index/64] |= bit
		c.unique++
		c.delays = append(c.delays, int32(min(now-sent, 1<<30)))
	}
	c.seen[run] = words
	return true
}

// indexMax bounds what a flood message may make the counter allocate.
const indexMax = 1 << 26

func floodMark(inner []byte) (run uint32, index uint64, sentMicros int64, ok bool) {
	at := bytes.Index(inner, []byte(`ash":"f100d5eb`))
	if at < 0 || len(inner) < at+6+64 {
		return 0, 0, 0, false
	}
	var hash [32]byte
	if _, err := hex.Decode(hash[:], inner[at+6:at+6+64]); err != nil {
		return 0, 0, 0, false
	}
	index = binary.BigEndian.Uint64(hash[8:])
	return binary.BigEndian.Uint32(hash[4:]), index, int64(binary.BigEndian.Uint64(hash[16:])), index < indexMax
}

// Report is the state of the counts. "unique" counts flood messages once each; "cpu_used_us" and
// "run_used_us" are since Reset; the delays are from the publisher's stamp to the reader, which
// only means something on one machine.
func (c *Counter) Report() Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	result := Usage()
	if c.before != nil {
		result["cpu_used_us"] = result["cpu_us"].(int64) - c.before["cpu_us"].(int64)
		result["run_used_us"] = result["run_us"].(int64) - c.before["run_us"].(int64)
	}
	sorted := slices.Clone(c.delays)
	slices.Sort(sorted)
	if n := len(sorted); n > 0 {
		result["delay_p50_us"] = sorted[n/2]
		result["delay_p99_us"] = sorted[n*99/100]
	}
	result["received"] = c.received
	result["unique"] = c.unique
	result["other"] = c.other
	result["bytes"] = c.bytes
	result["first_us"] = c.firstUs
	result["last_us"] = c.lastUs
	return result
}
