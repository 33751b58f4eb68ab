package dicomweb

import "strings"

// appendRanges reads a comma-separated list of media ranges. Commas and
// semicolons inside quotes do not separate (RFC 9110 §5.6).
func appendRanges(a Accept, v string) Accept {
	for v != "" && len(a) < maxRanges {
		var item string
		item, v = cutUnquoted(v, ',')
		m, params := parseMediaType(item)
		if m == "" {
			continue
		}
		r := MediaRange{Type: m, Q: 1000, order: len(a)}
		for _, p := range params {
			switch p.Name {
			case "q":
				r.Q = quality(p.Value)
			case "type":
				r.Related = strings.ToLower(p.Value)
			case "transfer-syntax":
				r.Syntax = p.Value
			default:
				r.Params = append(r.Params, p)
			}
		}
		a = append(a, r)
	}
	return a
}

// parseMediaType splits "type/subtype; name=value; …" leniently: values bare or
// quoted (also "type=application/dicom", whose slash asks for quotes), names in
// any case. The type is lower-case, and "" when there is none.
func parseMediaType(v string) (string, []Param) {
	item, rest := cutUnquoted(v, ';')
	m := strings.ToLower(strings.TrimSpace(item))
	if m == "*" {
		m = "*/*"
	}
	if i := strings.IndexByte(m, '/'); i <= 0 || i == len(m)-1 || strings.ContainsAny(m, " \t\"") {
		return "", nil
	}
	var params []Param
	for rest != "" && len(params) < 16 {
		item, rest = cutUnquoted(rest, ';')
		name, value, _ := strings.Cut(item, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if name == "" {
			continue
		}
		params = append(params, Param{name, unquote(strings.TrimSpace(value))})
	}
	return m, params
}

// param returns the value of the first parameter of the name.
func param(params []Param, name string) (string, bool) {
	for _, p := range params {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

// cutUnquoted splits at the first sep outside of quotes.
func cutUnquoted(v string, sep byte) (string, string) {
	quoted := false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == sep && !quoted:
			return v[:i], v[i+1:]
		}
	}
	return v, ""
}

// unquote removes the quotes of a quoted-string, and single quotes, which some
// clients write. A closing quote may be missing.
func unquote(v string) string {
	if v == "" || v[0] != '"' && v[0] != '\'' {
		return v
	}
	q := v[0]
	v = strings.TrimSuffix(v[1:], string(q))
	if q == '\'' || strings.IndexByte(v, '\\') < 0 {
		return v
	}
	b := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' && i+1 < len(v) {
			i++
		}
		b = append(b, v[i])
	}
	return string(b)
}

// quality reads a qvalue in thousandths. What cannot be read counts as 1.
func quality(v string) int {
	switch {
	case v == "" || v[0] != '0' && v[0] != '.':
		return 1000
	case v[0] == '0':
		v = v[1:]
	}
	if v == "" || v[0] != '.' {
		return 0
	}
	q := 0
	for i, unit := 1, 100; i < len(v) && unit > 0; i, unit = i+1, unit/10 {
		if v[i] < '0' || v[i] > '9' {
			break
		}
		q += int(v[i]-'0') * unit
	}
	return q
}
