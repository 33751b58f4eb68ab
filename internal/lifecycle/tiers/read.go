package tiers

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/strata-pacs/strata/internal/archive"
	"github.com/strata-pacs/strata/internal/fault"
)

// Most is how many tiers there may be.
const Most = 16

// Presets are the words that stand for a list of tiers.
const Presets = "one-disk; aws: hot STANDARD, cold GLACIER_IR and archive DEEP_ARCHIVE in the bucket of store, " +
	"or in one whose address follows; on-premises and the address of a bucket: hot on the disk, cold and archive in the bucket"

// Default is the preset that holds when nothing is configured.
const Default = "one-disk"

// standard is the class of S3 for what is stored without one.
const standard = "STANDARD"

// Read returns the tiers of the setting `tiers`, the hot one first: a preset,
// or the list of the configuration file. hot is the address in the setting `store`;
// empty for the data folder. Errors are fault.Invalid, and name the key that is wrong.
func Read(value any, hot, currency string) ([]archive.Tier, error) {
	hot, hotClass := splitClass(hot)
	var list []archive.Tier
	var err error
	switch v := value.(type) {
	case string:
		list, err = preset(v, hot, currency)
	case []any:
		list, err = decode(v)
	case []string: // a list of which no element is a tier
		err = bad("tiers", "must be a preset, or a list of which each element has a name")
	default:
		err = bad("tiers", "must be a preset (%s), or a list", Presets)
	}
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || list[0].Name != archive.HotTier {
		return nil, bad("tiers", "the first must be named %s: it is where everything is written", archive.HotTier)
	}
	if len(list) > Most {
		return nil, bad("tiers", "there are more than %d", Most)
	}
	if list[0].Class == "" {
		list[0].Class = hotClass
	}
	if hotClass == standard {
		hotClass = ""
	}
	for i := range list {
		t := &list[i]
		if t.Store == hot {
			t.Store = ""
		}
		if t.Class == standard && (t.Store != "" || hotClass == "") {
			t.Class = "" // what the store does when it is told nothing
		}
	}
	for i := range list {
		if err := check(list, i, hot, hotClass); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func preset(words, hot, currency string) ([]archive.Tier, error) {
	name, address, _ := strings.Cut(strings.TrimSpace(words), " ")
	address, class := splitClass(strings.TrimSpace(address))
	if class != "" {
		return nil, bad("tiers", "the address that follows %s must not name a class: the preset does", name)
	}
	var list []archive.Tier
	switch name {
	case Default:
		if address != "" {
			return nil, bad("tiers", "the preset %s takes no address", Default)
		}
		return []archive.Tier{{Name: archive.HotTier}}, nil
	case "aws":
		if !strings.HasPrefix(hot, "s3://") {
			return nil, bad("tiers", "the preset aws needs a bucket in store, as s3://bucket?region=eu-central-1")
		}
		if address != "" && !strings.HasPrefix(address, "s3://") {
			return nil, bad("tiers", "what follows the preset aws must be the address of a bucket, as s3://bucket?region=eu-central-1")
		}
		list = []archive.Tier{awsTier(archive.HotTier, "", ""), awsTier("cold", address, "GLACIER_IR"), awsTier("archive", address, "DEEP_ARCHIVE")}
	case "on-premises":
		if !strings.HasPrefix(address, "s3://") {
			return nil, bad("tiers", "the preset on-premises needs the address of a bucket, as in: on-premises s3://bucket?region=eu-central-1")
		}
		list = []archive.Tier{{Name: archive.HotTier}, awsTier("cold", address, "GLACIER_IR"), awsTier("archive", address, "DEEP_ARCHIVE")}
		for i := range list[1:] {
			list[i+1].Prices.EgressGB = awsEgress
		}
	default:
		return nil, bad("tiers", "there is no preset %q: %s", name, Presets)
	}
	if currency != awsCurrency {
		return nil, bad("tiers", "the prices of the preset %s are in %s, and currency is %s: write a list with prices of your own", name, awsCurrency, currency)
	}
	return list, nil
}

// splitClass takes the storage class out of a bucket's address, so that
// addresses of one store are equal.
func splitClass(address string) (store, class string) {
	before, query, found := strings.Cut(address, "?")
	if !found || !strings.HasPrefix(address, "s3://") && !strings.HasPrefix(address, "minio://") {
		return address, ""
	}
	// Everything else stays as it is written: whether it is right is for the store to say.
	kept := slices.DeleteFunc(strings.Split(query, "&"), func(p string) bool {
		v, is := strings.CutPrefix(p, "class=")
		if is {
			class = v
			if plain, err := url.QueryUnescape(v); err == nil {
				class = plain
			}
		}
		return is
	})
	if len(kept) == 0 {
		return before, class
	}
	return before + "?" + strings.Join(kept, "&"), class
}

// check holds a tier to what can work beside the ones before it.
func check(list []archive.Tier, i int, hot, hotClass string) error {
	t, at := list[i], "tiers."+string(list[i].Name)
	scheme, rest, _ := strings.Cut(t.Store, "://")
	if t.Store == "" {
		scheme, _, _ = strings.Cut(hot, "://")
	} else if rest == "" || scheme != "s3" && scheme != "minio" && scheme != "file" {
		return bad(at+".store", "must begin with s3://, minio:// or file://, or be left out for the node's own store")
	}
	bucket := scheme == "s3" || scheme == "minio"
	switch {
	case i == 0 && t.Store != "":
		return bad(at+".store", "must be left out: the setting store says where everything is written")
	case i == 0 && t.Restore:
		return bad(at+".restore", "must be false: what is written must be readable at once")
	case i == 0 && t.Class != hotClass:
		return bad(at+".class", "must be left out: the address in store names the class of what is written")
	case !bucket && t.Class != "":
		return bad(at+".class", "folders have no storage classes: only s3:// and minio:// have")
	case !bucket && t.Restore:
		return bad(at+".restore", "what lies in a folder can be read at once: only buckets restore")
	case t.Restore && t.Class == "":
		return bad(at+".class", "name the class from which objects are restored, as GLACIER")
	case t.Restore && len(t.Speeds) == 0:
		return bad(at+".speeds", "say how objects are restored from class %s", t.Class)
	case !t.Restore && awsSpeeds(t.Class) != nil:
		return bad(at+".restore", "must be true: objects of class %s have to be restored", t.Class)
	case !t.Restore && len(t.Speeds) > 0:
		return bad(at+".speeds", "only a tier with restore: true has them")
	}
	for _, o := range list[:i] {
		if o.Name == t.Name {
			return bad(at, "there are two tiers of the name")
		}
		if o.Store == t.Store && o.Class == t.Class {
			return bad(at, "it has the store and the class of tier %s: tiers differ in one of them", o.Name)
		}
	}
	return checkSpeeds(t, at)
}

func checkSpeeds(t archive.Tier, at string) error {
	order := []archive.Priority{archive.Expedited, archive.Standard, archive.Bulk}
	last := -1
	for _, s := range t.Speeds {
		n := slices.Index(order, s.Priority)
		switch {
		case n < 0:
			return bad(at+".speeds", "a priority must be expedited, standard or bulk")
		case n <= last:
			return bad(at+".speeds", "each priority stands there once, the fastest first: expedited, standard, bulk")
		case s.Typical <= 0:
			return bad(at+".speeds", "typical of %s must be a length of time above zero such as 5m or 12h", s.Priority)
		case s.Longest < s.Typical:
			return bad(at+".speeds", "longest of %s must not be less than typical", s.Priority)
		}
		last = n
	}
	return nil
}

func bad(key, format string, args ...any) error {
	return fault.New(fault.Invalid, "%s: %s", key, fmt.Sprintf(format, args...))
}
