package disk

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// What a cache names: a digest, a day, the random text of lockNew.
const (
	hexName    = `[0-9a-f]{64}`
	dayName    = `\d{4}-\d{2}-\d{2}`
	randomName = `[A-Z2-7]{16}`
)

// remains are the folders of a cache that can be left without format and blobs/, and what may lie in each, two names deep, folders
// with a slash: where a build goes on whose cache was deleted, or a deletion was cut short. What is swept from one is tinfra's.
// They are compiled when somebody asks: few do, and every verb would wait for it.
var remains = sync.OnceValue(func() map[string]*regexp.Regexp {
	return map[string]*regexp.Regexp{
		keysDir:        whole(hexName),
		"runs":         whole(hexName + `/(` + hexName + `)?`),
		"records":      whole(dayName + `/(` + hexName + `)?`),
		"builds":       whole(dayName + `/(` + hexName + `)?`),
		refsDir:        whole(`[^/]+`),
		"lost":         whole(hexName),
		leasesDir:      whole(hexName),
		hashDir:        whole(hexName),
		plansDir:       whole(hexName),
		workDir:        whole(hexName + `/(\d+/|\d+\.lock)?`),
		checkpointsDir: whole(hexName + `/(\d+/)?`),
		tmpDir:         whole(randomName + `(\.lock|/.*)`),
		runningDir:     whole(randomName),
		asideDir:       whole(`.*`),
		"env":          whole(`(` + hexName + `|\.new-` + hexName + `[^/]*|\.locks)/.*`),
		"tools":        whole(`(uv-|\.new-)[^/]*/.*|(jars|compiled)/(` + hexName + `(\.m2)?/?)?`),
	}
})

// remainingFiles are the files of a cache that lie beside those folders.
var remainingFiles = sync.OnceValue(func() *regexp.Regexp {
	return whole(`(holds|gc|pointers)\.lock|lineage\.sqlite(-wal|-shm|\.lock)?`)
})

func whole(pattern string) *regexp.Regexp { return regexp.MustCompile(`^(?:` + pattern + `)$`) }

// stranger is something in the folder that no cache leaves, by its name from there; "" where there is none. Hidden names,
// and what a fresh disk has, are nobody's.
func (s *Store) stranger() (string, error) {
	list, err := os.ReadDir(s.dir)
	if err != nil {
		return "", err
	}
	ours := remains()
	for _, e := range list {
		name := e.Name()
		if name == lostAndFound || strings.HasPrefix(name, ".") || e.Type().IsRegular() && remainingFiles().MatchString(name) {
			continue
		}
		if ours[name] == nil || !e.IsDir() {
			return name, nil
		}
		if strange, err := strangerIn(filepath.Join(s.dir, name), ours[name]); strange != "" || err != nil {
			return name + "/" + strange, err
		}
	}
	return "", nil
}

// strangerIn looks two names deep.
func strangerIn(dir string, ours *regexp.Regexp) (string, error) {
	names, err := namesIn(dir)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if !ours.MatchString(name) || filepath.Base(dir) == refsDir && !isPointer(filepath.Join(dir, name)) {
			return name, nil
		}
		if !strings.HasSuffix(name, "/") {
			continue
		}
		below, err := namesIn(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		for _, b := range below {
			if !ours.MatchString(name + b) {
				return name + b, nil
			}
		}
	}
	return "", nil
}

// namesIn has a slash at the end of folders, and two at that of what is neither a folder nor a file: no cache has one.
func namesIn(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	names := make([]string, len(list))
	for i, e := range list {
		switch names[i] = e.Name(); {
		case e.IsDir():
			names[i] += "/"
		case !e.Type().IsRegular():
			names[i] += "//"
		}
	}
	return names, err
}

// isPointer: in refs/ the names say nothing.
func isPointer(path string) bool {
	if fi, err := os.Lstat(path); err != nil || fi.Size() > maxPointer {
		return false
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	_, err = artifacts.ParseDigest(string(b))
	return err == nil
}
