package controller

import (
	"bytes"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/ebbgate/ebbgate/wire"
)

// maxUnpacked bounds a record from the bus once it is unpacked: what 1,000 regions make of one is
// a few MiB.
const maxUnpacked = 32 << 20

// packMark is how a packed record begins: with zstd's magic number, as no JSON does.
var packMark = []byte{0x28, 0xb5, 0x2f, 0xfd}

// packed returns a record as it goes to the bus: compressed, if it would not fit as it is. The
// window is large because what a record repeats, names above all, may be far apart.
func packed(v []byte) []byte {
	if len(v) <= wire.MaxRecord {
		return v
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
	if err != nil {
		panic(fmt.Sprintf("controller: options of zstd: %v", err))
	}
	defer z.Close()
	return z.EncodeAll(v, nil)
}

// unpack makes records from the bus what they were when they were written. What cannot be unpacked
// stays as it is, and is no record that anybody can read.
func unpack(all map[string][]byte) {
	var z *zstd.Decoder
	for key, v := range all {
		if !bytes.HasPrefix(v, packMark) {
			continue
		}
		if z == nil {
			var err error
			if z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxUnpacked)); err != nil {
				panic(fmt.Sprintf("controller: options of zstd: %v", err))
			}
			defer z.Close()
		}
		if plain, err := z.DecodeAll(v, nil); err == nil {
			all[key] = plain
		}
	}
}
