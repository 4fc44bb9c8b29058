package artifacts

import (
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"
)

// Folders of pointers. Nothing else can be named through Pointers.
const (
	keysFolder    = KeysFolder
	runsFolder    = "runs/"
	recordsFolder = "records/"
	buildsFolder  = BuildsFolder
	refsFolder    = "refs/"
	leasesFolder  = "leases/"
	lostFolder    = "lost/"

	// KeysFolder and BuildsFolder are for who lists the names of another place.
	KeysFolder   = "keys/"
	BuildsFolder = "builds/"

	// BlobsFolder is where Sweeper.Delete finds bytes: BlobsFolder + hex.
	BlobsFolder = "blobs/sha256/"
)

// CheckName accepts the name of a pointer. Every store asks it first, since names may come from a bucket or a recipe.
func CheckName(name string) error {
	if err := CheckPath(name); err != nil {
		return err
	}
	for _, f := range []string{keysFolder, runsFolder, recordsFolder, buildsFolder, refsFolder, leasesFolder, lostFolder} {
		if strings.HasPrefix(name, f) {
			return nil
		}
	}
	return fmt.Errorf("%w %q: pointers live in keys, runs, records, builds, refs, leases and lost", ErrPath, clip(name))
}

// CheckPrefix accepts what Pointers.List may be asked for: "" or the beginning of a pointer's name.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	return CheckName(strings.TrimSuffix(prefix, "/") + "/x")
}

// Names are those under which a record with digest d is found: in the order in which they are set.
func (r *Record) Names(d Digest) (run, record, key string) {
	return runName(r.Key, d), recordName(day(r.Ended), d.Hex()), keyName(r.Key)
}

// Names are those under which a build with digest d is found, in the order in which they are set.
func (b *Build) Names(d Digest) (build, ref string) {
	return buildName(day(b.Started), d.Hex()), refName(b.RecipePath)
}

// KeyName is where the record that stands for a key is named.
func KeyName(k Key) string { return keyName(k) }

// RefName is where a recipe's last build is named.
func RefName(recipePath string) string { return refName(recipePath) }

func keyName(k Key) string              { return keysFolder + k.Hex() }
func runName(k Key, rec Digest) string  { return runsFolder + k.Hex() + "/" + rec.Hex() }
func recordName(day, rec string) string { return recordsFolder + day + "/" + rec }
func buildName(day, b string) string    { return buildsFolder + day + "/" + b }
func lostName(d Digest) string          { return lostFolder + d.Hex() }

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// refName is where a recipe's last build is kept: its base name without .hcl, with odd bytes escaped.
func refName(recipePath string) string {
	base := strings.TrimSuffix(path.Base(strings.ReplaceAll(recipePath, `\`, "/")), ".hcl")
	var out strings.Builder
	for i, b := range []byte(norm.NFC.String(base)) {
		switch {
		case isLetter(b), '0' <= b && b <= '9', b == '-', b == '_', b == '.' && i > 0:
			out.WriteByte(b)
		default:
			fmt.Fprintf(&out, "%%%02X", b)
		}
	}
	return refsFolder + clip(out.String())
}
