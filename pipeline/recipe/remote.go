package recipe

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Remote is a bucket that machines share. Credentials are no part of it.
type Remote struct {
	Bucket       string
	Endpoint     string   // "https://host:port"; "" for AWS
	Region       string   // "" for the environment's
	Prefix       string   // folder in the bucket, without slashes at its ends; "" for the bucket itself
	Tier         string   // what is written, and read first; "" for DefaultTier
	Reads        []string // tiers that are read besides
	CA           string   // file with certificates that the endpoint is trusted by; "" for the system's
	PathStyle    bool     // the bucket stands in the path of an address, and not in the host's name
	SingleWriter bool     // the person says that nobody else writes, so conditions are not needed
	ReadOnly     bool     // nothing is written there
}

// DefaultTier is written where nothing says which.
const DefaultTier = "main"

const remoteScheme = "s3"

// credentialsPlaces is what a person is told who writes credentials where they must not stand.
const credentialsPlaces = "Credentials are taken from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from ~/.aws, or from the machine's role"

var (
	bucketForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$`)
	regionForm = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)
	prefixForm = regexp.MustCompile(`^[A-Za-z0-9._=+-]+(/[A-Za-z0-9._=+-]+)*$`)
	tierForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
)

const maxPrefix = 256 // bytes

// CheckTier accepts the name of a tier.
func CheckTier(name string) error {
	if !tierForm.MatchString(name) {
		return fmt.Errorf("%q is no name of a tier: up to 63 of a-z, 0-9, dot, dash and underscore, as in \"pr-12\"", name)
	}
	return nil
}

// errCredentials is of a setting that may hold credentials, so nobody repeats it.
var errCredentials = errors.New("it must hold no credentials. " + credentialsPlaces)

// set takes one setting, in its block or in an address.
func (r *Remote) set(name, value string) error {
	switch name {
	case "bucket":
		if !bucketForm.MatchString(value) || strings.Contains(value, "..") {
			return fmt.Errorf("%q is no name of a bucket. Write the name only, as in \"models\"", value)
		}
		r.Bucket = value
	case "endpoint":
		return r.setEndpoint(value)
	case "region":
		if !regionForm.MatchString(value) {
			return fmt.Errorf("%q is no region. Write it as in \"eu-central-1\"", value)
		}
		r.Region = value
	case "prefix":
		value = strings.Trim(value, "/")
		part := func(s string) bool { return s == "." || s == ".." }
		if !prefixForm.MatchString(value) || slices.ContainsFunc(strings.Split(value, "/"), part) || len(value) > maxPrefix {
			return fmt.Errorf("%q is no prefix: names of a-z, A-Z, 0-9 and . _ = + - with slashes between them, as in \"team-a/models\"", value)
		}
		r.Prefix = value
	case "tier":
		if err := CheckTier(value); err != nil {
			return err
		}
		r.Tier = value
	default:
		return fmt.Errorf("there is no setting %q", name)
	}
	return nil
}

func (r *Remote) setEndpoint(value string) error {
	u, err := url.Parse(value)
	switch {
	case err == nil && u.User != nil, err != nil && strings.Contains(value, "@"):
		return errCredentials
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return fmt.Errorf("%q is no address of a server. Write it as in \"https://minio.example.org:9000\"", value)
	}
	r.Endpoint = u.Scheme + "://" + u.Host
	return nil
}

func (r *Remote) setReads(tiers []string) error {
	for i, name := range tiers {
		if err := CheckTier(name); err != nil {
			return err
		}
		if slices.Contains(tiers[:i], name) {
			return fmt.Errorf("%q stands there twice", name)
		}
	}
	r.Reads = tiers
	return nil
}

// ParseRemote reads the address of a bucket: s3://bucket/prefix?endpoint=…&region=…&tier=…&reads=…,…&ca=…&path_style=…&single_writer=…&read_only=….
func ParseRemote(address string) (*Remote, error) {
	u, err := url.Parse(address)
	switch {
	case err == nil && u.User != nil, err != nil && strings.Contains(address, "@"):
		return nil, fmt.Errorf("the address of a bucket: %w", errCredentials)
	case err != nil || u.Scheme != remoteScheme || u.Host == "" || u.Port() != "" || u.Fragment != "":
		return nil, errors.New("this is no address of a bucket: write it as in s3://models/team-a?endpoint=https://minio.example.org:9000, or none")
	}
	r := &Remote{}
	if err := r.set("bucket", u.Host); err != nil {
		return nil, err
	}
	if prefix := strings.Trim(u.Path, "/"); prefix != "" {
		if err := r.set("prefix", prefix); err != nil {
			return nil, err
		}
	}
	given, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("what stands behind the ? of the bucket's address cannot be read: write it as in ?endpoint=https://minio.example.org:9000&tier=pr-12")
	}
	r.PathStyle = given.Has("endpoint")
	for _, name := range sortedKeys(given) {
		if len(given[name]) > 1 {
			return nil, fmt.Errorf("%s stands twice in the bucket's address", name)
		}
		if err := r.setInAddress(name, given[name][0]); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *Remote) setInAddress(name, value string) (err error) {
	switch name {
	case "endpoint", "region", "tier":
		err = r.set(name, value)
	case "reads":
		err = r.setReads(strings.Split(value, ","))
	case "ca":
		if r.CA, err = ExpandHome(value); err == nil && value == "" {
			err = errors.New("it is empty")
		}
	case "path_style":
		r.PathStyle, err = parseBool(value)
	case "single_writer":
		r.SingleWriter, err = parseBool(value)
	case "read_only":
		r.ReadOnly, err = parseBool(value)
	default:
		if holdsCredentials(name) {
			return fmt.Errorf("%s in the address of a bucket: %w", name, errCredentials)
		}
		return fmt.Errorf("the address of a bucket has no %q.%s", name,
			didYouMean(name, []string{"endpoint", "region", "tier", "reads", "ca", "path_style", "single_writer", "read_only"}))
	}
	if err != nil {
		return fmt.Errorf("%s in the address of a bucket: %w", name, err)
	}
	return nil
}

func parseBool(s string) (bool, error) {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, fmt.Errorf("%q is neither true nor false", s)
	}
	return b, nil
}

// holdsCredentials tells names under which people put credentials.
func holdsCredentials(setting string) bool {
	for _, word := range []string{"key", "secret", "token", "password", "credential"} {
		if strings.Contains(strings.ToLower(setting), word) {
			return true
		}
	}
	return false
}

// remote reads the block. Where a setting may hold credentials, the block's head is what is shown, and not that line.
func (r *projectReader) remote(b *hclsyntax.Block) {
	to := &Remote{PathStyle: b.Body.Attributes["endpoint"] != nil}
	told := len(r.diags)
	known := settings{where: `remote "s3"`, attributes: map[string]func(*hclsyntax.Attribute){
		"reads": func(a *hclsyntax.Attribute) { r.took(b, a, to.setReads(r.texts(a))) },
		"ca":    func(a *hclsyntax.Attribute) { to.CA = r.file(a) },
		"path_style": func(a *hclsyntax.Attribute) {
			to.PathStyle = r.truth(a)
		},
		"single_writer": func(a *hclsyntax.Attribute) { to.SingleWriter = r.truth(a) },
		"read_only":     func(a *hclsyntax.Attribute) { to.ReadOnly = r.truth(a) },
	}}
	for _, name := range []string{"bucket", "endpoint", "region", "prefix", "tier"} {
		known.attributes[name] = func(a *hclsyntax.Attribute) {
			if v, ok := r.value(a, cty.String, "a text"); ok {
				r.took(b, a, to.set(name, v.AsString()))
			}
		}
	}
	for name := range b.Body.Attributes {
		if known.attributes[name] == nil && holdsCredentials(name) {
			known.attributes[name] = func(a *hclsyntax.Attribute) { r.took(b, a, errCredentials) }
		}
	}
	r.walk(b.Body, known)
	if to.Bucket == "" && b.Body.Attributes["bucket"] == nil {
		r.problem(b.DefRange(), "Missing setting", `remote "s3" needs bucket, the bucket's name.`)
	}
	if len(r.diags) == told {
		r.project.Remote = to
	}
}

// took says what is wrong with a setting.
func (r *projectReader) took(b *hclsyntax.Block, a *hclsyntax.Attribute, err error) {
	switch {
	case errors.Is(err, errCredentials):
		r.problem(b.DefRange(), "Credentials in the project file", "%s: %s.", a.Name, err)
	case err != nil:
		r.problem(a.Expr.Range(), "Invalid value", "%s: %s.", a.Name, err)
	}
}

func (r *projectReader) truth(a *hclsyntax.Attribute) bool {
	v, ok := r.value(a, cty.Bool, "true or false")
	return ok && v.True()
}

// file is a path to a file that is there.
func (r *projectReader) file(a *hclsyntax.Attribute) string {
	path := r.path(a)
	if path == "" {
		return ""
	}
	if st, err := r.reads.Stat(path); err != nil || st.IsDir() {
		r.problem(a.Expr.Range(), "No such file", "%s: there is no file %s.", a.Name, path)
		return ""
	}
	return path
}
