package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/file"

	"github.com/strata-pacs/strata/internal/fault"
)

// readConfigFile reads a configuration file into the form of koanf, a map for each part of a key. In the
// file a key may be written in one piece (log.level) or in parts (log, and level below it); koanf
// itself keeps the two apart, and which of them counts is then left to chance.
func readConfigFile(path string, known map[string]setting) (map[string]any, error) {
	b, err := file.Provider(path).ReadBytes()
	var written map[string]any
	if err == nil {
		written, err = yaml.Parser().Unmarshal(b)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "cannot read the configuration file %s", path)
	}
	f := configFile{known: known, out: map[string]any{}, seen: map[string]bool{}}
	if err := f.read("", written); err != nil {
		return nil, err
	}
	return f.out, nil
}

type configFile struct {
	known map[string]setting
	out   map[string]any
	seen  map[string]bool
}

// read takes what is written below a prefix, which is empty or ends in a dot.
func (f *configFile) read(prefix string, written map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(written)) {
		key, value := prefix+name, written[name]
		below, isMap := value.(map[string]any)
		s, is := f.known[key]
		_, named := s.value.(map[string]string)
		err := error(nil)
		switch {
		case named && isMap:
			err = f.named(key, below)
		case is:
			err = f.set(key, value, strings.Split(key, ".")...)
		case isMap && len(below) > 0:
			err = f.read(key+".", below)
		case (isMap || value == nil) && f.section(key):
			// with nothing in it
		default:
			parent, child, _ := strings.Cut(key, ".")
			if _, named = f.known[parent].value.(map[string]string); !named || child == "" {
				return errNoSetting(key)
			}
			err = f.set(key, value, parent, child)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// named takes values by names that the file chooses, in which dots have no meaning.
func (f *configFile) named(key string, values map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := f.set(key+"."+name, values[name], key, name); err != nil {
			return err
		}
	}
	return nil
}

// section reports whether settings are below a key.
func (f *configFile) section(key string) bool {
	for k := range f.known {
		if strings.HasPrefix(k, key+".") {
			return true
		}
	}
	return false
}

func (f *configFile) set(key string, value any, path ...string) error {
	if f.seen[key] {
		return fault.New(fault.Invalid, "%s: the configuration file has this twice, in one piece and in parts; leave one of them", key)
	}
	f.seen[key] = true
	at := f.out
	for _, part := range path[:len(path)-1] {
		next, ok := at[part].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[part] = next
		}
		at = next
	}
	at[path[len(path)-1]] = value
	return nil
}

func errNoSetting(key string) error {
	return fault.New(fault.Invalid, "%s: there is no such setting; `strata config` lists them all", key)
}
