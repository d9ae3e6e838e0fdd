package line

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func bytesReader(text []byte) io.Reader { return bytes.NewReader(text) }

// Usage is what this process has used since it started: "cpu_us" user and system time of the
// process accounting, "run_us" time on a processor summed over the living threads (Linux, finer
// than the accounting's ticks), "rss_bytes" and "rss_peak_bytes".
func Usage() Event {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	cpu := used.Utime.Sec*1_000_000 + int64(used.Utime.Usec) + used.Stime.Sec*1_000_000 + int64(used.Stime.Usec)
	rss, peak := memory()
	return Event{"cpu_us": cpu, "run_us": runMicros(), "rss_bytes": rss, "rss_peak_bytes": peak}
}

func runMicros() int64 {
	files, _ := filepath.Glob("/proc/self/task/*/schedstat")
	var nanos int64
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		first, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err == nil {
			nanos += n
		}
	}
	return nanos / 1000
}

func memory() (rss, peak int64) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	for _, row := range strings.Split(string(text), "\n") {
		fields := strings.Fields(row)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseInt(fields[1], 10, 64)
		switch fields[0] {
		case "VmRSS:":
			rss = kib * 1024
		case "VmHWM:":
			peak = kib * 1024
		}
	}
	return rss, peak
}
