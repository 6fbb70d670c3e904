package schematest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// Docs is what the comments of a package say of its structs, their fields, and the
// constants of its named string types. Nil says nothing.
type Docs struct {
	pkg    string
	text   map[string]string   // "Plan", "Plan.Waves", "Strategy.rolling" → comment
	consts map[string][]string // named type → its values, as they stand
	keys   map[string]string   // "Plan.MaxFailures" → "max_failures", and for every struct: "MaxFailures" → …
}

// ReadDocs reads the package in a directory, without its tests.
func ReadDocs(t testing.TB, dir string) *Docs {
	t.Helper()
	d := &Docs{text: map[string]string{}, consts: map[string][]string{}, keys: map[string]string{}}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		d.pkg = f.Name.Name
		for _, decl := range f.Decls {
			if g, ok := decl.(*ast.GenDecl); ok {
				for _, spec := range g.Specs {
					d.read(g, spec)
				}
			}
		}
	}
	return d
}

func (d *Docs) read(g *ast.GenDecl, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		doc := spec.Doc
		if doc == nil {
			doc = g.Doc
		}
		d.text[spec.Name.Name] = doc.Text()
		s, ok := spec.Type.(*ast.StructType)
		if !ok {
			return
		}
		for _, f := range s.Fields.List {
			tag := ""
			if f.Tag != nil {
				tag, _ = strconv.Unquote(f.Tag.Value)
			}
			key, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
			for _, n := range f.Names {
				d.text[spec.Name.Name+"."+n.Name] = f.Doc.Text() + f.Comment.Text()
				d.keys[spec.Name.Name+"."+n.Name], d.keys[n.Name] = key, key
			}
		}
	case *ast.ValueSpec:
		of, ok := spec.Type.(*ast.Ident)
		if !ok || g.Tok != token.CONST {
			return
		}
		for _, v := range spec.Values {
			if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				value, _ := strconv.Unquote(lit.Value)
				d.consts[of.Name] = append(d.consts[of.Name], value)
				d.text[of.Name+"."+value] = spec.Doc.Text() + spec.Comment.Text()
			}
		}
	}
}

func (d *Docs) covers(t reflect.Type) bool {
	return d != nil && t.Name() != "" && path.Base(t.PkgPath()) == d.pkg
}

// values returns the constants of a named string type.
func (d *Docs) values(t reflect.Type) []string {
	if !d.covers(t) {
		return nil
	}
	return d.consts[t.Name()]
}

// Type returns the comment of a type.
func (d *Docs) Type(t reflect.Type) string {
	if !d.covers(t) {
		return ""
	}
	return d.plain(t.Name(), d.text[t.Name()])
}

// field returns the comment of a field, and what each of its values means.
func (d *Docs) field(t reflect.Type, f reflect.StructField) string {
	if !d.covers(t) {
		return ""
	}
	text := d.plain(t.Name(), d.text[t.Name()+"."+f.Name])
	for _, v := range d.values(f.Type) {
		text += "\n" + v + ": " + d.plain(t.Name(), d.text[f.Type.Name()+"."+v])
	}
	return text
}

var (
	word = regexp.MustCompile(`[A-Z]\w*`)
	link = regexp.MustCompile(`\[([\w.]+)\]`)
)

// plain makes a comment readable to who sees the document and no Go: one line a paragraph,
// and the fields by their names in JSON. A word may be a field's by chance, so only those of
// the struct itself are taken for fields, and elsewhere those of two words and more.
func (d *Docs) plain(in, text string) string {
	var paragraphs []string
	for _, p := range strings.Split(strings.TrimSpace(text), "\n\n") {
		paragraphs = append(paragraphs, strings.Join(strings.Fields(p), " "))
	}
	text = link.ReplaceAllString(strings.Join(paragraphs, "\n"), "$1")
	return word.ReplaceAllStringFunc(text, func(w string) string {
		key := d.keys[in+"."+w]
		if key == "" && strings.IndexFunc(w[1:], unicode.IsUpper) >= 0 {
			key = d.keys[w]
		}
		if key == "" {
			return w
		}
		return "`" + key + "`"
	})
}
