package artifacts

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

// Digest is a sha256 (FIPS 180-4). Its text form is "sha256:" and 64 lower-case hex digits.
type Digest [sha256.Size]byte

const digestPrefix = "sha256:"

// Sum is the digest of b.
func Sum(b []byte) Digest { return sha256.Sum256(b) }

// SumReader reads r to its end; it returns the digest of what was read and how many bytes that were.
func SumReader(r io.Reader) (Digest, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return Digest{}, n, fmt.Errorf("hashing: %w", err)
	}
	return Digest(h.Sum(nil)), n, nil
}

// ParseDigest reads the text form and refuses everything else.
func ParseDigest(s string) (Digest, error) {
	rest, ok := strings.CutPrefix(s, digestPrefix)
	if !ok {
		return Digest{}, fmt.Errorf("digest %q does not begin with %q", s, digestPrefix)
	}
	return ParseHex(rest)
}

// ParseHex reads the 64 hex digits that name a blob.
func ParseHex(s string) (Digest, error) {
	var d Digest
	if len(s) != hex.EncodedLen(len(d)) || strings.ToLower(s) != s {
		return Digest{}, fmt.Errorf("digest %q is not 64 lower-case hex digits", s)
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return Digest{}, fmt.Errorf("digest %q: %w", s, err)
	}
	return d, nil
}

// Hex is the 64 hex digits, the name of the blob.
func (d Digest) Hex() string { return hex.EncodeToString(d[:]) }

func (d Digest) String() string {
	var text [len(digestPrefix) + 2*sha256.Size]byte
	return string(hex.AppendEncode(append(text[:0], digestPrefix...), d[:]))
}

// Short is enough of the digest for a person to tell two apart.
func (d Digest) Short() string { return d.Hex()[:12] }

// IsZero tells the digest that was never set.
func (d Digest) IsZero() bool { return d == Digest{} }

func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d *Digest) UnmarshalText(b []byte) error {
	got, err := ParseDigest(string(b))
	if err != nil {
		return err
	}
	*d = got
	return nil
}

// Key is the digest of a stored Action: the identity of "what a run would make".
type Key Digest

func (k Key) Digest() Digest               { return Digest(k) }
func (k Key) String() string               { return Digest(k).String() }
func (k Key) Hex() string                  { return Digest(k).Hex() }
func (k Key) Short() string                { return Digest(k).Short() }
func (k Key) IsZero() bool                 { return Digest(k).IsZero() }
func (k Key) MarshalText() ([]byte, error) { return Digest(k).MarshalText() }
func (k *Key) UnmarshalText(b []byte) error {
	return (*Digest)(k).UnmarshalText(b)
}
