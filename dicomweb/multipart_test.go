package dicomweb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/strata-pacs/strata/internal/fault"
)

type gotPart struct{ typ, location, content string }

// readAll reads a message whole. The error is that of the part or the message that ended it.
func readAll(r io.Reader, boundary string) ([]gotPart, error) {
	return readWith(r, boundary, func(p *messagePart) ([]byte, error) { return io.ReadAll(p) })
}

// readWith reads parts in some way.
func readWith(r io.Reader, boundary string, read func(*messagePart) ([]byte, error)) ([]gotPart, error) {
	m, err := newMultipartReader(r, boundary, 16<<10)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	var out []gotPart
	for {
		p, err := m.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		b, err := read(p)
		out = append(out, gotPart{p.Type, p.Location, string(b)})
		if err != nil {
			return out, err
		}
	}
}

// into reads with buffers of one size.
func into(size int) func(*messagePart) ([]byte, error) {
	buf := make([]byte, size)
	return func(p *messagePart) (out []byte, err error) {
		for {
			n, err := p.Read(buf)
			out = append(out, buf[:n]...)
			if err == io.EOF {
				return out, nil
			}
			if err != nil {
				return out, err
			}
		}
	}
}

func written(p *messagePart) ([]byte, error) {
	var b bytes.Buffer
	_, err := p.WriteTo(&b)
	return b.Bytes(), err
}

func TestMultipartReader(t *testing.T) {
	const h = "Content-Type: application/dicom\r\n\r\n"
	one := []gotPart{{"application/dicom", "", "abc"}}
	tests := []struct {
		name, boundary, body string
		want                 []gotPart
		err                  error
	}{
		{"plain", "b", "--b\r\n" + h + "abc\r\n--b--\r\n", one, nil},
		{"CRLF before the first boundary (dcmjs)", "b", "\r\n--b\r\n" + h + "abc\r\n--b--", one, nil},
		{"preamble and epilogue", "b", "for old readers\r\n--b\r\n" + h + "abc\r\n--b--\r\nbye\r\n--b\r\n", one, nil},
		{"boundary text inside the preamble", "b", "x--b\r\n--bb\r\n--b\r\n" + h + "abc\r\n--b--", one, nil},
		{"lines end in LF alone", "b", "--b\nContent-Type: application/dicom\n\nabc\n--b--\n", one, nil},
		{"LF boundary in CRLF content is content", "b", "--b\r\n" + h + "a\n--b\nc\r\n--b--", []gotPart{{"application/dicom", "", "a\n--b\nc"}}, nil},
		{"content ends in CR", "b", "--b\r\n" + h + "abc\r\r\n--b--", []gotPart{{"application/dicom", "", "abc\r"}}, nil},
		{"content ends in CRLF", "b", "--b\r\n" + h + "abc\r\n\r\n--b--", []gotPart{{"application/dicom", "", "abc\r\n"}}, nil},
		{"longer boundary is content", "b", "--b\r\n" + h + "a\r\n--bc\r\n--b--", []gotPart{{"application/dicom", "", "a\r\n--bc"}}, nil},
		{"white space behind the boundary", "b", "--b \t\r\n" + h + "abc\r\n--b  \r\n" + h + "abc\r\n--b--", append(one, one...), nil},
		{"part without headers", "b", "--b\r\n\r\nabc\r\n--b--", []gotPart{{"", "", "abc"}}, nil},
		{"empty part", "b", "--b\r\n" + h + "\r\n--b--", []gotPart{{"application/dicom", "", ""}}, nil},
		{"empty part, its line break shared", "b", "--b\r\n" + h + "--b\r\n" + h + "--b--", []gotPart{{"application/dicom", "", ""}, {"application/dicom", "", ""}}, nil},
		{"content like a boundary's beginning", "b", "--b\r\n" + h + "--ba\r\n--b--", []gotPart{{"application/dicom", "", "--ba"}}, nil},
		{"no part", "b", "--b--\r\n", nil, nil},
		{"names in any case, folded", "b", "--b\r\ncontent-TYPE : application/dicom;\r\n transfer-syntax=1\r\nCONTENT-LOCATION:x/y\r\nX: z\r\n\r\nabc\r\n--b--",
			[]gotPart{{"application/dicom; transfer-syntax=1", "x/y", "abc"}}, nil},
		{"boundary with odd characters", "a'()+_,-./:=? b", "--a'()+_,-./:=? b\r\n" + h + "abc\r\n--a'()+_,-./:=? b--", one, nil},
		{"repeated characters", "------", "--------\r\n" + h + "-\r\n-----abc\r\n----------", []gotPart{{"application/dicom", "", "-\r\n-----abc"}}, nil},

		{"cut off in the content", "b", "--b\r\n" + h + "abc", one, errTruncated},
		{"cut off in the boundary", "b", "--b\r\n" + h + "abc\r\n--b", []gotPart{{"application/dicom", "", "abc\r\n--b"}}, errTruncated},
		{"cut off behind a part", "b", "--b\r\n" + h + "abc\r\n--b\r\n", one, errTruncated},
		{"cut off in the headers", "b", "--b\r\nContent-Ty", nil, errTruncated},
		{"another boundary", "b", "--c\r\n" + h + "abc\r\n--c--", nil, errNoBoundary},
		{"nothing", "b", "", nil, errNoBoundary},
		{"header without a colon", "b", "--b\r\nDICM\r\n\r\nabc\r\n--b--", nil, errPartHeader},
	}
	for _, tt := range tests {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole":        func(r io.Reader) io.Reader { return r },
			"byte by byte": iotest.OneByteReader,
			"data and EOF": iotest.DataErrReader,
		} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				for how, read := range map[string]func(*messagePart) ([]byte, error){"small": into(3), "large": into(directFrom), "WriteTo": written} {
					got, err := readWith(wrap(strings.NewReader(tt.body)), tt.boundary, read)
					if !errors.Is(err, tt.err) {
						t.Fatalf("%s: error %v, want %v", how, err, tt.err)
					}
					if fmt.Sprint(got) != fmt.Sprint(tt.want) {
						t.Fatalf("%s: got %q, want %q", how, got, tt.want)
					}
				}
			})
		}
	}
}

func TestMultipartLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		boundary, body string
		kind           fault.Kind
	}{
		"headers too long":           {"b", "--b\r\nX: " + strings.Repeat("y", 20<<10) + "\r\n\r\nabc\r\n--b--", fault.TooLarge},
		"headers endless":            {"b", "--b\r\n" + strings.Repeat("X: y\r\n", 10_000), fault.TooLarge},
		"preamble endless":           {"b", strings.Repeat("nothing here\r\n", 100_000), fault.Invalid},
		"no boundary":                {"", "--\r\n\r\n", fault.Invalid},
		"boundary too long":          {strings.Repeat("b", 300), "", fault.Invalid},
		"boundary with a line break": {"a\r\nb", "", fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := readAll(strings.NewReader(tt.body), tt.boundary); !fault.Is(err, tt.kind) {
				t.Fatalf("error %v, want kind %v", err, tt.kind)
			}
		})
	}
}

func TestMultipartReaderPassesOver(t *testing.T) {
	big := strings.Repeat("x", 3*multipartWindow)
	body := "--b\r\n\r\n" + big + "\r\n--b\r\n\r\n" + big + "\r\n--b--"
	m, err := newMultipartReader(strings.NewReader(body), "b", 100)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	first, err := m.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Next(); err != nil {
		t.Fatal(err)
	}
	if n, err := first.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("a part passed over reads %d, %v", n, err)
	}
	if _, err := m.Next(); err != io.EOF {
		t.Errorf("behind the last part: %v", err)
	}
	if _, err := m.Next(); err != io.EOF {
		t.Errorf("again: %v", err)
	}
}

// TestMultipartAgainstWriter puts random content with pieces of the boundary
// in it through the writer and back, with reads of random sizes.
func TestMultipartAgainstWriter(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const boundary = "--Bound-ary--"
	for round := range 200 {
		var want []gotPart
		var buf bytes.Buffer
		w := &multipartWriter{w: &buf, boundary: boundary}
		size := closeOverhead(boundary)
		for i := range 1 + rnd.IntN(4) {
			var content []byte
			for len(content) < rnd.IntN(1+[]int{0, 10, 1000, 600_000}[rnd.IntN(4)]) {
				switch rnd.IntN(4) {
				case 0:
					d := "\r\n--" + boundary
					content = append(content, d[:rnd.IntN(len(d))]...)
				case 1:
					content = append(content, "\r\n--"+boundary+"x"...)
				default:
					for range rnd.IntN(5000) {
						content = append(content, byte(rnd.Uint32()))
					}
				}
			}
			location := strings.Repeat("l", rnd.IntN(3))
			pw, err := w.Part("application/dicom", location)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = pw.Write(content)
			size += partOverhead(boundary, "application/dicom", location, i == 0) + int64(len(content))
			want = append(want, gotPart{"application/dicom", location, string(content)})
		}
		_ = w.Close()
		if int64(buf.Len()) != size {
			t.Fatalf("round %d: %d bytes, computed %d", round, buf.Len(), size)
		}
		read := []func(*messagePart) ([]byte, error){into(1000), into(directFrom), into(1 << 20), written}[rnd.IntN(4)]
		got, err := readWith(&chopper{&buf, rnd}, boundary, read)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("round %d: %d parts, want %d", round, len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("round %d: part %d differs", round, i)
			}
		}
	}
}

type chopper struct {
	r   io.Reader
	rnd *rand.Rand
}

func (c *chopper) Read(p []byte) (int, error) {
	return c.r.Read(p[:min(len(p), 1+c.rnd.IntN(70_000))])
}

func FuzzMultipart(f *testing.F) {
	for _, seed := range []string{
		"--b\r\nContent-Type: application/dicom\r\n\r\nabc\r\n--b--\r\n",
		"\r\n--b\r\n\r\n\r\n--b--", "--b\n\nabc\n--b--", "--b\r\nX: y\r\n z\r\n\r\n", "--b--", "--b \r\n\r\n--b--",
		"--b\r\n\r\n\r\n--bb\r\n--b-\r\n--b--",
	} {
		f.Add([]byte(seed), "b")
	}
	f.Fuzz(func(t *testing.T, body []byte, boundary string) {
		whole, errWhole := readAll(bytes.NewReader(body), boundary)
		bytewise, errBytes := readAll(iotest.OneByteReader(bytes.NewReader(body)), boundary)
		direct, errDirect := readWith(bytes.NewReader(body), boundary, into(directFrom))
		if fmt.Sprint(whole) != fmt.Sprint(direct) || fault.KindOf(errWhole) != fault.KindOf(errDirect) {
			t.Fatalf("large buffers give something else:\n%q %v\n%q %v", whole, errWhole, direct, errDirect)
		}
		if fmt.Sprint(whole) != fmt.Sprint(bytewise) || fault.KindOf(errWhole) != fault.KindOf(errBytes) {
			t.Fatalf("reads of other sizes give something else:\n%q %v\n%q %v", whole, errWhole, bytewise, errBytes)
		}
		total := 0
		for _, p := range whole {
			total += len(p.content)
		}
		if total > len(body) {
			t.Fatalf("%d bytes of content from %d", total, len(body))
		}
	})
}

func BenchmarkMultipartReader(b *testing.B) {
	content := make([]byte, 512<<10)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range content { // 12-bit pixels
		if content[i] = byte(rnd.Uint32()); i&1 == 1 {
			content[i] &= 3
		}
	}
	var buf bytes.Buffer
	w := &multipartWriter{w: &buf, boundary: newBoundary()}
	for range 50 {
		p, _ := w.Part("application/dicom", "")
		_, _ = p.Write(content)
	}
	_ = w.Close()
	sink := make([]byte, 1<<20)
	b.SetBytes(int64(buf.Len()))
	b.ReportAllocs()
	for b.Loop() {
		m, _ := newMultipartReader(bytes.NewReader(buf.Bytes()), w.boundary, 16<<10)
		for {
			p, err := m.Next()
			if err != nil {
				break
			}
			for {
				if _, err := p.Read(sink); err != nil {
					break
				}
			}
		}
		m.Close()
	}
}
