//go:build ignore

// Dictgen writes dict.txt from the dictionary of github.com/suyashkumar/dicom,
// whose table is not exported: it reads the library's source.
package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Retired attributes with an x in their tag, which the library lists at a tag
// that is another attribute's, or nobody's (PS3.6 §6, footnotes).
var moved = map[string]string{
	"RowsForNthOrderCoefficients": "00280410", "ColumnsForNthOrderCoefficients": "00280411",
	"CoefficientCoding": "00280412", "CoefficientCodingPointers": "00280413",
	"EscapeTriplet": "10000010", "RunLengthTriplet": "10000011", "HuffmanTableSize": "10000012",
	"HuffmanTableTriplet": "10000013", "ShiftTableSize": "10000014", "ShiftTableTriplet": "10000015",
	"ZonalMap": "10100004",
}

func main() {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/suyashkumar/dicom").Output()
	if err != nil {
		log.Fatal(err)
	}
	src := filepath.Join(strings.TrimSpace(string(dir)), "pkg", "tag", "tag_definitions.go")
	f, err := parser.ParseFile(token.NewFileSet(), src, nil, 0)
	if err != nil {
		log.Fatal(err)
	}
	tags := map[string]string{} // Go name to tag
	var lines []string
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		lit, ok := spec.Values[0].(*ast.CompositeLit)
		if !ok {
			return true
		}
		if id, ok := lit.Type.(*ast.Ident); ok && id.Name == "Tag" {
			tags[spec.Names[0].Name] = hex(lit.Elts[0]) + hex(lit.Elts[1])
			return false
		}
		for _, e := range lit.Elts {
			if l := line(e.(*ast.KeyValueExpr), tags); l != "" {
				lines = append(lines, l)
			}
		}
		return false
	})
	slices.Sort(lines)
	if err := os.WriteFile("dict.txt", []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		log.Fatal(err)
	}
}

func line(kv *ast.KeyValueExpr, tags map[string]string) string {
	info := kv.Value.(*ast.CompositeLit)
	var vrs bytes.Buffer
	for _, v := range info.Elts[1].(*ast.CompositeLit).Elts {
		vrs.WriteString(text(v))
	}
	vr, tag, keyword := vrs.String(), tags[kv.Key.(*ast.Ident).Name], text(info.Elts[3])
	switch vr {
	case "NA": // items and delimiters
		return ""
	case "USSS":
		vr = "xs"
	case "OBOW", "USOW", "USSSOW":
		vr = "OW"
	}
	if t, ok := moved[keyword]; ok {
		tag = t
	}
	return tag + vr + keyword
}

func text(e ast.Expr) string {
	s, err := strconv.Unquote(e.(*ast.BasicLit).Value)
	if err != nil {
		log.Fatal(err)
	}
	return s
}

func hex(e ast.Expr) string {
	n, err := strconv.ParseUint(e.(*ast.BasicLit).Value, 0, 16)
	if err != nil {
		log.Fatal(err)
	}
	return fmt.Sprintf("%04X", n)
}
