package env

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/Ruihan11/tiny-infra/artifacts"
)

// MavenVariable names the repository that jars come from, before tinfra.hcl does.
const MavenVariable = "TINFRA_MAVEN"

// jar is one that was found to be what was asked for. Nobody changes it until it is released.
type jar struct {
	path    string
	release func()
}

// pathOf is where a Maven repository keeps a jar.
func (n native) pathOf() string {
	c := strings.Split(n.Maven, ":")
	file := c[1] + "-" + c[2]
	if len(c) == 5 {
		file += "-" + c[4]
	}
	return path.Join(strings.ReplaceAll(c[0], ".", "/"), c[1], c[2], file+"."+c[3])
}

// jar brings a jar, from the repository that this machine names, or the user's own, or through Maven.
func (s *Set) jar(ctx context.Context, n native, progress func(string)) (*jar, error) {
	if named := s.local.Maven; named != "" {
		found, err := s.named(ctx, n, named, progress)
		if err != nil && ctx.Err() == nil && !errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("%w (the repository is the one that %s or `maven` in tinfra.hcl names)", err, MavenVariable)
		}
		return found, err
	}
	home, err := os.UserHomeDir()
	if err == nil {
		found, err := n.inFolder(ctx, filepath.Join(home, ".m2", "repository"), progress)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return found, err
		}
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return nil, n.nowhere()
	}
	return s.onTheWay(ctx, n, progress, func(part string) error { return n.byMaven(ctx, mvn, part, progress) })
}

// named looks in the repository that this machine names, a folder or an address.
func (s *Set) named(ctx context.Context, n native, repository string, progress func(string)) (*jar, error) {
	if !strings.Contains(repository, "://") {
		return n.inFolder(ctx, repository, progress)
	}
	at, err := repositoryAt(repository)
	if err != nil {
		return nil, err
	}
	return s.onTheWay(ctx, n, progress, func(part string) error { return n.download(ctx, at.JoinPath(n.pathOf()), part, progress) })
}

// onTheWay has a jar brought to where it is written meanwhile.
func (s *Set) onTheWay(ctx context.Context, n native, progress func(string), bring func(part string) error) (*jar, error) {
	part, release, err := s.holdJar(ctx, n, progress)
	if err != nil {
		return nil, err
	}
	if err := bring(part); err != nil {
		release()
		return nil, err
	}
	return &jar{part, release}, nil
}

func (n native) nowhere() error {
	return fmt.Errorf("%s is in no repository that is known here: name one by %s or by `maven` in tinfra.hcl (an address or a folder), "+
		"put it into ~/.m2/repository, or install mvn", n.Maven, MavenVariable)
}

// inFolder looks for the jar in a repository that is a folder.
func (n native) inFolder(ctx context.Context, repository string, progress func(string)) (*jar, error) {
	name := filepath.Join(repository, filepath.FromSlash(n.pathOf()))
	if _, err := os.Stat(name); err != nil {
		return nil, err
	}
	progress("looking through " + name)
	if err := n.same(ctx, name); errors.Is(err, errOtherJar) {
		return nil, fmt.Errorf("%s: %w", name, err)
	} else if err != nil {
		return nil, err // which names it
	}
	return &jar{name, func() {}}, nil
}

// byMaven lets Maven bring it, with the user's own settings and mirrors, into a repository that is thrown away.
func (n native) byMaven(ctx context.Context, mvn, part string, progress func(string)) error {
	repository := part + mavenSuffix
	defer os.RemoveAll(repository)
	progress(fmt.Sprintf("bringing %s with mvn (%d MiB)", n.Maven, n.Size>>20))
	get := quiet(ctx, mvn, "-q", "-B", "dependency:get", "-Dartifact="+n.Maven, "-Dtransitive=false", "-Dmaven.repo.local="+repository)
	get.Dir = filepath.Dir(part)
	if err := follow(ctx, get, nil); err != nil {
		return fmt.Errorf("mvn dependency:get: %w", err)
	}
	found, err := n.inFolder(ctx, repository, progress)
	if err != nil {
		return err
	}
	return os.Rename(found.path, part)
}

// download brings it from an address, and goes on with what an earlier attempt has left.
func (n native) download(ctx context.Context, at *url.URL, part string, progress func(string)) error {
	for {
		_, none := os.Stat(part)
		progress(fmt.Sprintf("bringing %s (%d MiB)", n.Maven, n.Size>>20))
		d := &download{client: http.DefaultClient, from: at.String(), size: n.Size, progress: progress, idle: downloadIdle, pause: downloadPause}
		err := d.into(ctx, part)
		if errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("%w: what came is kept for the next attempt; `tinfra cache gc --apply` removes it", err)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", shown(at), err)
		}
		err = n.same(ctx, part)
		if err == nil || !errors.Is(err, errOtherJar) {
			return err // which names the file
		}
		if err := os.Remove(part); err != nil {
			return err
		}
		if none != nil { // all of it came just now
			return fmt.Errorf("%s: %w", shown(at), err)
		}
		progress("what an earlier attempt left was no part of it; beginning anew")
	}
}

func repositoryAt(address string) (*url.URL, error) {
	at, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the repository's address cannot be read")
	}
	if at.Scheme != "http" && at.Scheme != "https" {
		return nil, fmt.Errorf("the repository's address begins with %s://, and only http and https are known; a folder is named by its path", at.Scheme)
	}
	return at, nil
}

// shown is an address without what may be secret in it.
func shown(at *url.URL) string {
	bare := *at
	if bare.RawQuery != "" {
		bare.RawQuery = "xxxxx"
	}
	return bare.Redacted()
}

// same compares a file with what is declared.
func (n native) same(ctx context.Context, name string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	sum, size, err := artifacts.SumReader(io.LimitReader(during{ctx, in}, n.Size+1))
	switch {
	case err != nil:
		return err
	case size != n.Size:
		return fmt.Errorf("%w: it does not have %d bytes", errOtherJar, n.Size)
	case sum.Hex() != n.SHA256:
		return fmt.Errorf("%w: its sha256 is %s and not %s", errOtherJar, sum.Hex(), n.SHA256)
	}
	return nil
}

// extract takes one file out of a jar.
func (j *jar) extract(ctx context.Context, f nativeFile, root *os.Root) (size int64, err error) {
	z, err := zip.OpenReader(j.path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = z.Close() }() // it was only read
	in, err := z.Open(f.Member)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	return f.copy(ctx, in, root)
}

// copy writes the file where it goes, and compares it with what is declared.
func (f nativeFile) copy(ctx context.Context, in io.Reader, root *os.Root) (size int64, err error) {
	if err := root.MkdirAll(filepath.FromSlash(path.Dir(f.To)), 0o777); err != nil {
		return 0, err
	}
	out, err := root.OpenFile(filepath.FromSlash(f.To), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	sum, size, err := artifacts.SumReader(io.TeeReader(during{ctx, in}, out))
	if err == nil && sum.Hex() != f.SHA256 {
		err = fmt.Errorf("its sha256 is %s and not %s", sum.Hex(), f.SHA256)
	}
	return size, err
}
