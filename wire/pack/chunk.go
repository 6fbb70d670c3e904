package pack

import (
	"context"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/ebbgate/ebbgate/wire"
)

// Put stores a blob under its digest. The data belongs to it from then on, so that it
// may go on storing after it has returned.
type Put func(ctx context.Context, d wire.Digest, data []byte) error

// Fetch returns chunk i of the section being read, whose digest is d. What it returns
// is verified by the reader, which is done with it when it asks for the next.
type Fetch func(ctx context.Context, i int, d wire.Digest) ([]byte, error)

// window is how far back a stream may refer, in bytes. It bounds the memory of a reader:
// a stream that asks for more is refused.
const window = 8 << 20

// VerifyChunk reports whether data is the chunk named d.
func VerifyChunk(d wire.Digest, data []byte) error {
	if len(data) > ChunkSize {
		return fmt.Errorf("chunk %s: %w: %d bytes, at most %d", d.Short(), wire.ErrTooLarge, len(data), ChunkSize)
	}
	if got := wire.DigestOf(data); got != d {
		return fmt.Errorf("chunk %s: %w: its content is %s", d.Short(), wire.ErrInvalid, got.Short())
	}
	return nil
}

// chunkReader is a section's stream before decompression.
type chunkReader struct {
	ctx   context.Context
	s     *Section
	fetch Fetch
	next  int    // chunk to fetch
	rest  []byte // of the one before it
}

func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.next == len(r.s.Chunks) {
			return 0, io.EOF
		}
		if err := r.ctx.Err(); err != nil {
			return 0, err
		}
		d := r.s.Chunks[r.next]
		data, err := r.fetch(r.ctx, r.next, d)
		if err != nil {
			return 0, fmt.Errorf("chunk %d, %s: %w", r.next, d.Short(), err)
		}
		if want := r.s.ChunkLen(r.next); len(data) != want {
			return 0, fmt.Errorf("chunk %d, %s: %w: %d bytes, want %d", r.next, d.Short(), wire.ErrInvalid, len(data), want)
		}
		if err := VerifyChunk(d, data); err != nil {
			return 0, err
		}
		r.rest, r.next = data, r.next+1
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// chunkWriter cuts what is written to it into chunks and puts them.
type chunkWriter struct {
	ctx context.Context
	put Put
	s   Section
	buf []byte
}

func (w *chunkWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if w.buf == nil {
			w.buf = make([]byte, 0, ChunkSize)
		}
		k := min(len(p), ChunkSize-len(w.buf))
		w.buf, p = append(w.buf, p[:k]...), p[k:]
		if len(w.buf) == ChunkSize {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (w *chunkWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if len(w.s.Chunks) == MaxChunks {
		return fmt.Errorf("pack: %w: more than %d chunks of %d bytes", wire.ErrTooLarge, MaxChunks, ChunkSize)
	}
	d := wire.DigestOf(w.buf)
	if err := w.put(w.ctx, d, w.buf); err != nil {
		return fmt.Errorf("cannot store chunk %s: %w", d.Short(), err)
	}
	w.s.Chunks, w.s.Packed, w.buf = append(w.s.Chunks, d), w.s.Packed+int64(len(w.buf)), nil
	return nil
}

// compress writes a section: what fill writes to it, compressed, in chunks. The same
// input always gives the same chunks: one goroutine, a fixed level and window, and no
// checksum of its own, since every byte is covered by a digest already.
func compress(ctx context.Context, put Put, fill func(io.Writer) (int64, error)) (Section, error) {
	w := &chunkWriter{ctx: ctx, put: put}
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(window), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true))
	if err != nil {
		return Section{}, err
	}
	if w.s.Size, err = fill(z); err != nil {
		z.Close()
		return Section{}, err
	}
	if err := z.Close(); err != nil {
		return Section{}, err
	}
	return w.s, w.flush()
}

// decompress opens a section's stream. Memory is bounded by the window whatever the
// section declares; the caller bounds what it reads.
func decompress(ctx context.Context, s *Section, fetch Fetch) (*zstd.Decoder, error) {
	return zstd.NewReader(&chunkReader{ctx: ctx, s: s, fetch: fetch},
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
}
