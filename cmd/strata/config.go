package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
	"github.com/strata-pacs/strata/internal/ingest"
	"github.com/strata-pacs/strata/internal/lifecycle/rule"
	"github.com/strata-pacs/strata/internal/lifecycle/tiers"
	"github.com/strata-pacs/strata/internal/node"
	"github.com/strata-pacs/strata/internal/retention"
)

// setting is one key of the configuration. The same key is a line of the
// configuration file, an environment variable (STRATA_ and the key in capitals,
// dots and hyphens as underscores) and, where flagged, a command line flag.
type setting struct {
	key     string
	value   any // default
	help    string
	secret  bool
	serving bool // matters to serve alone
}

// settings lists every key, with its default.
func settings() []setting {
	return slices.Concat([]setting{
		{key: "data", value: defaultData(), help: "folder of this node: sealed objects, the index, the lock; with database and store set, only what is this node's own"},
		{key: "tenant", value: string(archive.DefaultTenant), help: "name of the organisation that owns the data; where there are several, the one whose service is at /dicom-web"},
		{key: "database", value: "", secret: true, help: "address of a PostgreSQL database that several nodes share, such as postgres://strata@db.example:5432/strata; empty: the SQLite index. Needs store"},
		{key: "store", value: "", help: "address of the object store: s3://bucket/prefix?region=…, minio://host/bucket/…; empty: objects in the data folder. Credentials come from the environment, as the AWS tools take them"},
		{key: "tiers", value: tiers.Default, help: "where studies may lie, and what that costs: " + tiers.Presets + "; or a list in this file, the hot tier first. Prices are for a GB (10^9 bytes), a month, a thousand requests"},
		{key: "currency", value: "USD", help: "currency of the prices of tiers"},
		{key: "settle-after", value: length("30m"), serving: true, help: "how long a study must not have changed before its objects are merged into few"},
		{key: "lifecycle", value: true, serving: true, help: "carry out lifecycle rules: settle, move and delete studies, and remove what that leaves behind; false: this node does so only when it is told to (strata lifecycle apply)"},
		{key: "lifecycle-every", value: length("1m"), serving: true, help: "how often to look for studies that are due by lifecycle rules"},
		{key: "read-grace", value: length("1h"), serving: true, help: "how long objects that others stand for stay, for those who read them still"},
		{key: "move-hold", value: length("1d"), serving: true, help: "how long the copy stays that a study was moved from to another store"},
		{key: "move-rate", value: amount("0"), serving: true, help: "most bytes a second that this node moves between tiers, such as 20MB; 0: no limit"},
		{key: "delete-hold", value: length("30d"), help: "how long a deletion can be undone before its bytes go"},
		{key: "drill-scratch", value: "", help: "folder for the sealed copies that strata drill makes, of this node alone; empty: drill in the data folder"},
		{key: "key-store", value: "", help: "address of a bucket of its own for wrapped keys, without object lock and versions, so that a key that is destroyed is gone; empty: in the store"},
		{key: "read-cache", value: "", serving: true, help: "folder that keeps what was read of the store, sealed as it came; empty: read-cache in the data folder, for a store elsewhere"},
		{key: "read-cache-bytes", value: amount("10GiB"), serving: true, help: "most bytes of the read cache; 0: there is none"},
		{key: "providers", value: map[string]string{}, help: "key providers by name, each as a URL such as vault:https://vault.example:8200/transit/strata?auth=approle&…; in the environment: name=URL, several parted by blanks"},
		{key: "kek", value: "", help: "the key-encryption key of the default tenant and of new ones: provider/key, or provider/key+provider/key where two providers must open; empty: the local key file"},
		{key: "node-lease", value: length("15s"), serving: true, help: "how long the other nodes wait for one that says nothing before they take over what it left; at least 2s"},
		{key: "store-stall", value: length("30s"), serving: true, help: "how long the store may move no byte before it is asked again"},
		{key: "index", value: "", help: "file of the SQLite index; empty: index.db in the data folder. A disk of its own needs 24 MiB free, or stores are refused"},
		{key: "key-file", value: defaultKeyFile(), help: "the local key-encryption key. Keep a copy elsewhere: without it the archive cannot be read by anyone"},
		{key: "key-passphrase-file", value: "", help: "file with the passphrase that protects the key file; empty: no passphrase"},
		{key: "key-passphrase", value: "", secret: true, help: "the passphrase itself, for places where a file is no better than the environment"},
		{key: "key-lease", value: length("2s"), serving: true, help: "how long an answer of the key provider holds: after a revocation nothing is served for longer"},
		{key: "key-grace", value: length("30s"), serving: true, help: "how long to go on when the key provider does not answer; then the archive closes until it does"},
		{key: "key-backup-lifetime", value: length("0s"), help: "how long backups of the bucket with the wrapped keys are kept: so long a shredding is pending; 0s: there are none"},
		{key: "rewrap-rate", value: 0, serving: true, help: "most key objects a second that a rotation or a move wraps anew; 0: no limit"},
		{key: "idle-close", value: length("5m"), serving: true, help: "how long nobody has to ask for a tenant's archive before its keys leave memory"},
		{key: "listen", value: "127.0.0.1:8080", serving: true, help: "address and port to serve on; anything beyond loopback needs tls-cert, tls-key and token-file, or insecure"},
		{key: "tls-cert", value: "", serving: true, help: "PEM file with the server's certificate chain"},
		{key: "tls-key", value: "", serving: true, help: "PEM file with the certificate's private key"},
		{key: "token-file", value: "", serving: true, help: "file with bearer tokens, one a line; a request needs one of them. A line tenant:token lets in to that tenant alone; name=token or name=tenant:token says whose it is, which releasing a legal hold needs"},
		{key: "insecure", value: false, serving: true, help: "serve beyond loopback without TLS or token. Never with patients' data"},
		{key: "public-url", value: "", serving: true, help: "URL under which clients reach the server, when it differs; without /dicom-web"},
		{key: "trusted-proxies", value: []string{"127.0.0.0/8", "::1/128"}, serving: true, help: "networks whose Forwarded and X-Forwarded-* headers are believed"},
		{key: "origins", value: []string{}, serving: true, help: "web origins whose pages may use the archive from a browser, or *; empty: pages from this machine"},
		{key: "duplicates", value: "keep-first", help: "same UIDs, other contents: keep-first (the newcomer is kept hidden), replace, or refuse"},
		{key: "retention", value: retention.None, help: "how long studies must be kept where a tenant's own rules name no set: " + retention.Names() + "; strata retention sets shows them. Legal holds always count"},
		{key: "reconcile-every", value: length("1m"), serving: true, help: "how often to look for facts that are not indexed yet"},
		{key: "reap-grace", value: length("1d"), help: "how old an object that no fact names must be before it is removed"},
		{key: "limits.request-bytes", value: amount("0"), serving: true, help: "largest request body in bytes, such as 4GB; 0: no limit"},
		{key: "limits.store-memory", value: amount("64MiB"), serving: true, help: "bytes of memory that all stores together may hold"},
		{key: "limits.results", value: 5000, serving: true, help: "most matches in one answer to a search; more come by offset, and a warning says so"},
		{key: "limits.tenants", value: 256, serving: true, help: "most tenants whose archives are open at once; the one that nobody has asked for longest makes room for the next"},
		{key: "limits.idle", value: length("60s"), serving: true, help: "how long a connection may make no progress"},
		{key: "cache-bytes", value: amount("32MiB"), serving: true, help: "bytes of memory for decoded metadata"},
		{key: "pixel-workers", value: 0, serving: true, help: "processes that decode and encode compressed images at once; 0: as many as there are cores"},
		{key: "thumbnails", value: true, serving: true, help: "keep thumbnails, sealed, and make those of new studies ahead; false: each is made when it is asked for"},
		{key: "thumbnail-after", value: length("1m"), serving: true, help: "how long a study must not have changed before its thumbnails are made"},
		{key: "shutdown-wait", value: length("30s"), serving: true, help: "how long a stopping server waits for requests in flight"},
		{key: "log.level", value: "info", help: "debug, info, warn or error"},
		{key: "log.format", value: "text", help: "text or json"},
	}, restoreSettings())
}

// Config is the effective configuration, checked.
type Config struct {
	Data, Index, KeyFile               string
	Database, Store, KeyStore          string
	Tiers                              []archive.Tier // the hot one first
	Currency                           string
	SettleAfter, ReadGrace             time.Duration
	MoveHold, DeleteHold               time.Duration
	MoveRate                           int64
	Lifecycle                          bool
	LifecycleEvery                     time.Duration
	ReadCache, DrillScratch            string
	ReadCacheBytes                     int64
	Providers                          map[string]string
	KEK                                string
	Passphrase, PassphraseFile         string
	Tenant                             archive.Tenant
	Listen, TLSCert, TLSKey, TokenFile string
	Insecure                           bool
	PublicURL                          string
	TrustedProxies                     []netip.Prefix
	Origins                            []string
	Duplicates                         ingest.Policy
	Retention                          string
	KeyLease, KeyGrace, IdleClose      time.Duration
	NodeLease, StoreStall              time.Duration
	KeyBackups                         time.Duration
	RewrapRate                         int
	ReconcileEvery, ReapGrace          time.Duration
	RequestBytes, StoreMemory          int64
	Results, OpenTenants               int
	Idle, ShutdownWait                 time.Duration
	CacheBytes                         int64
	PixelWorkers                       int
	Thumbnails                         bool
	ThumbnailAfter                     time.Duration
	LogLevel, LogFormat                string
	Restores                           node.RestoreOptions
	WebhookFile                        string
}

// loadConfig merges defaults, file, environment and flags, the later over the
// earlier, and checks every value. Errors name the key.
func loadConfig(path string, environ []string, flags *pflag.FlagSet) (*koanf.Koanf, *Config, error) {
	k := koanf.New(".")
	known := map[string]setting{}
	fromEnv := map[string]string{}
	for _, s := range settings() {
		known[s.key] = s
		fromEnv["STRATA_"+envName(s.key)] = s.key
	}
	defaults := map[string]any{}
	for key, s := range known {
		defaults[key] = s.value
	}
	if err := k.Load(confmap.Provider(defaults, "."), nil); err != nil {
		return nil, nil, fmt.Errorf("loading the defaults: %w", err)
	}
	if path != "" {
		written, err := readConfigFile(path, known)
		if err != nil {
			return nil, nil, err
		}
		if err := k.Load(confmap.Provider(written, ""), nil); err != nil {
			return nil, nil, fmt.Errorf("loading the configuration file: %w", err)
		}
	}
	err := k.Load(env.Provider(".", env.Opt{
		Prefix:      "STRATA_",
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			key := fromEnv[name]
			if key == "" {
				return "", nil // other programs' variables share the prefix
			}
			switch known[key].value.(type) {
			case []string:
				return key, splitList(value)
			case map[string]string:
				return key, splitMap(value)
			}
			return key, value
		}}), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the environment: %w", err)
	}
	if flags != nil {
		err := k.Load(posflag.ProviderWithFlag(flags, ".", k, func(f *pflag.Flag) (string, any) {
			if _, ok := known[f.Name]; !ok || !f.Changed || hasAnnotation(f, notSetting) {
				return "", nil
			}
			return f.Name, posflag.FlagVal(flags, f)
		}), nil)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the flags: %w", err)
		}
	}
	for _, key := range k.Keys() {
		if _, ok := known[key]; !ok && !strings.HasPrefix(key, "providers.") {
			return nil, nil, errNoSetting(key)
		}
	}
	c, err := checkConfig(k)
	return k, c, err
}

// notSetting marks a flag that has the name of a setting and is none.
const notSetting = "not a setting"

func hasAnnotation(f *pflag.Flag, name string) bool {
	_, ok := f.Annotations[name]
	return ok
}

func envName(key string) string {
	return strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

func splitList(s string) []string {
	return slices.DeleteFunc(strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }), func(s string) bool { return s == "" })
}

// splitMap reads name=value pairs, parted by blanks.
func splitMap(s string) map[string]any {
	out := map[string]any{}
	for _, pair := range strings.Fields(s) {
		name, value, _ := strings.Cut(pair, "=")
		out[name] = value
	}
	return out
}

// checkConfig turns the loaded values into their types.
func checkConfig(k *koanf.Koanf) (*Config, error) {
	c := &Config{
		Data: k.String("data"), Index: k.String("index"), KeyFile: k.String("key-file"), PassphraseFile: k.String("key-passphrase-file"), Passphrase: k.String("key-passphrase"),
		Tenant: archive.Tenant(k.String("tenant")), Listen: k.String("listen"), TLSCert: k.String("tls-cert"), TLSKey: k.String("tls-key"),
		Database: k.String("database"), Store: k.String("store"), KeyStore: k.String("key-store"), ReadCache: k.String("read-cache"), DrillScratch: k.String("drill-scratch"),
		Currency: k.String("currency"), Providers: k.StringMap("providers"), KEK: k.String("kek"),
		TokenFile: k.String("token-file"), PublicURL: k.String("public-url"), Origins: k.Strings("origins"),
		LogLevel: k.String("log.level"), LogFormat: k.String("log.format"),
	}
	bad := func(key, format string, args ...any) error {
		return fault.New(fault.Invalid, "%s: %s", key, fmt.Sprintf(format, args...))
	}
	var errs []error
	fail := func(err error) { errs = append(errs, err) }
	if c.Data == "" {
		fail(bad("data", "name a folder; there is no home folder to make one in"))
	}
	if c.KeyFile == "" {
		fail(bad("key-file", "name a file; there is no home folder to keep the key in"))
	}
	if !c.Tenant.Valid() {
		fail(bad("tenant", "use lower-case letters, digits and hyphens, at most 63"))
	}
	if c.Index == "" {
		c.Index = filepath.Join(c.Data, "index.db")
	}
	if c.Database != "" && c.Store == "" {
		fail(bad("database", "needs store: nodes that share a database share the objects, too"))
	}
	if c.KeyStore != "" && c.Store == "" {
		fail(bad("key-store", "needs store: without it keys lie with the objects in the data folder"))
	}
	if strings.Contains(c.KeyStore, "lock=") {
		fail(bad("key-store", "must lock nothing: a key that cannot be destroyed cannot be shredded"))
	}
	if c.ReadCache == "" { // of a store, or of tiers, elsewhere
		c.ReadCache = filepath.Join(c.Data, "read-cache")
	}
	if c.KEK != "" && len(c.Providers) == 0 {
		fail(bad("kek", "needs providers: it names one of them and a key there"))
	}
	if inside(c.Data, c.KeyFile) {
		fail(bad("key-file", "must not lie in the data folder: whoever takes the folder would have the key as well"))
	}
	if !currency.MatchString(c.Currency) {
		fail(bad("currency", "must be three capital letters, as USD or EUR"))
	}
	var err error
	if c.Insecure, err = strconv.ParseBool(k.String("insecure")); err != nil {
		fail(bad("insecure", "must be true or false"))
	}
	if c.Lifecycle, err = strconv.ParseBool(k.String("lifecycle")); err != nil {
		fail(bad("lifecycle", "must be true or false"))
	}
	if c.Thumbnails, err = strconv.ParseBool(k.String("thumbnails")); err != nil {
		fail(bad("thumbnails", "must be true or false"))
	}
	if c.PixelWorkers, err = strconv.Atoi(k.String("pixel-workers")); err != nil || c.PixelWorkers < 0 || c.PixelWorkers > 256 {
		fail(bad("pixel-workers", "must be a number from 0 to 256"))
	}
	for _, p := range k.Strings("trusted-proxies") {
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			fail(bad("trusted-proxies", "%q is not a network such as 10.0.0.0/8", p))
		}
		c.TrustedProxies = append(c.TrustedProxies, prefix)
	}
	if c.Duplicates, err = ingest.ParsePolicy(k.String("duplicates")); err != nil {
		fail(bad("duplicates", "must be keep-first, replace or refuse"))
	}
	if c.Retention = k.String("retention"); !retention.Known(c.Retention) {
		fail(bad("retention", "must be one of %s", retention.Names()))
	}
	for key, to := range map[string]*time.Duration{"reconcile-every": &c.ReconcileEvery, "reap-grace": &c.ReapGrace,
		"settle-after": &c.SettleAfter, "lifecycle-every": &c.LifecycleEvery, "read-grace": &c.ReadGrace, "move-hold": &c.MoveHold, "delete-hold": &c.DeleteHold,
		"node-lease": &c.NodeLease, "store-stall": &c.StoreStall, "key-lease": &c.KeyLease, "key-grace": &c.KeyGrace, "idle-close": &c.IdleClose, "limits.idle": &c.Idle, "shutdown-wait": &c.ShutdownWait, "thumbnail-after": &c.ThumbnailAfter} {
		if *to, err = rule.ParseLength(k.String(key)); err != nil || *to <= 0 {
			fail(bad(key, "must be a length of time above zero such as 90s, 12h, 30d or 1y"))
		}
	}
	if c.NodeLease < 2*time.Second {
		fail(bad("node-lease", "must be at least 2s"))
	}
	for key, to := range map[string]*int64{"limits.request-bytes": &c.RequestBytes, "limits.store-memory": &c.StoreMemory, "cache-bytes": &c.CacheBytes, "read-cache-bytes": &c.ReadCacheBytes, "move-rate": &c.MoveRate} {
		if *to, err = rule.ParseBytes(k.String(key)); err != nil {
			fail(bad(key, "must be a number of bytes, or a size such as 500MB or 64MiB"))
		}
	}
	if c.Tiers, err = readTiers(k.Get("tiers"), c.Store, c.Currency); err != nil {
		fail(err)
	}
	for _, t := range c.Tiers {
		if folder, ok := strings.CutPrefix(t.Store, "file://"); ok && inside(c.Data, folder) {
			fail(bad("tiers."+string(t.Name)+".store", "must not lie in the data folder: that is where the hot tier is"))
		}
	}
	if c.Results, err = strconv.Atoi(k.String("limits.results")); err != nil || c.Results < 1 {
		fail(bad("limits.results", "must be a number above zero"))
	}
	if c.OpenTenants, err = strconv.Atoi(k.String("limits.tenants")); err != nil || c.OpenTenants < 1 {
		fail(bad("limits.tenants", "must be a number above zero"))
	}
	if c.KeyBackups, err = rule.ParseLength(k.String("key-backup-lifetime")); err != nil || c.KeyBackups < 0 {
		fail(bad("key-backup-lifetime", "must be a length of time such as 30d, or 0s"))
	}
	if c.RewrapRate, err = strconv.Atoi(k.String("rewrap-rate")); err != nil || c.RewrapRate < 0 {
		fail(bad("rewrap-rate", "must be a number, 0 or more"))
	}
	if c.Restores, c.WebhookFile, err = readRestores(k); err != nil {
		fail(err)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		fail(bad("log.level", "must be debug, info, warn or error"))
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		fail(bad("log.format", "must be text or json"))
	}
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return c, nil
}

// checkServing holds what only a server has to fulfil.
func (c *Config) checkServing() error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return fault.New(fault.Invalid, "tls-cert and tls-key: give both or neither")
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fault.New(fault.Invalid, "listen: must be an address and a port such as 127.0.0.1:8080")
	}
	if c.Insecure || loopback(host) {
		return nil
	}
	if c.TLSCert == "" || c.TokenFile == "" {
		return fault.New(fault.Invalid, "listen: %s is reachable from other machines; give tls-cert, tls-key and token-file (or, for a test without patients' data, insecure)", c.Listen)
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// inside reports whether path lies in the folder.
func inside(folder, path string) bool {
	f, err1 := filepath.Abs(folder)
	p, err2 := filepath.Abs(path)
	if err1 != nil || err2 != nil {
		return false
	}
	rel, err := filepath.Rel(f, p)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func defaultData() string {
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "strata")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "share", "strata")
}

func defaultKeyFile() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "strata", "local.key")
}
