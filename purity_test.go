package ebbgate_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// cores are the packages whose functions answer the same to the same, always: they run
// in the simulation as they run in production.
var cores = []string{"controller/rollout", "agent/plan"}

// trusted are the functions outside the cores that are not looked into, and why.
var trusted = map[string]string{
	module + "/wire.Keys":   "sorts the keys that it has taken in any order",
	module + "/wire.fields": "remembers what a type looks like, which never changes",
}

// maxAnyOrder is how many loops over a map the cores may have, each with a reason.
const maxAnyOrder = 3

// anyOrder marks a line with a loop over a map whose order cannot matter.
var anyOrder = regexp.MustCompile(`^// any order: \S+`)

// TestCoresArePure holds that the cores, and whatever else of ours they call, have no
// clock, goroutine, channel, state of their own or order of a map. What they import
// leaves no way to a disk, a network or a random number (TestImportsPointDown).
func TestCoresArePure(t *testing.T) {
	p := loadCores(t)
	for _, core := range cores {
		for _, f := range p.files[module+"/"+core] {
			p.check(f)
		}
	}
	for len(p.called) > 0 { // grows while it is checked
		name := p.called[0]
		p.called = p.called[1:]
		if trusted[name] == "" {
			p.check(p.bodies[name])
		}
	}
	for name, why := range trusted {
		if !p.seen[name] {
			t.Errorf("nothing calls %s any more, which is trusted because it %s", name, why)
		}
	}
	for _, f := range slices.Sorted(slices.Values(p.found)) {
		t.Error(f)
	}
	if p.excused > maxAnyOrder {
		t.Errorf("%d loops are said to take a map in any order, at most %d may", p.excused, maxAnyOrder)
	}
}

// purity is the search for what makes the cores answer differently to the same.
type purity struct {
	fset    *token.FileSet
	info    *types.Info
	files   map[string][]*ast.File   // import path → files, without tests
	bodies  map[string]*ast.FuncDecl // full name → declaration
	seen    map[string]bool          // functions that are or were in called
	called  []string                 // functions outside the cores that are still to be checked
	reasons map[string]string        // file:line → comment there
	excused int
	found   []string
}

// loadCores parses and type-checks the cores and the packages of ours below them.
func loadCores(t *testing.T) *purity {
	t.Helper()
	args := []string{"-export", "-deps", "-json=ImportPath,Dir,GoFiles,Export"}
	for _, core := range cores {
		args = append(args, "./"+core)
	}
	p := &purity{
		fset: token.NewFileSet(), files: make(map[string][]*ast.File), bodies: make(map[string]*ast.FuncDecl),
		seen: make(map[string]bool), reasons: make(map[string]string),
		info: &types.Info{Types: make(map[ast.Expr]types.TypeAndValue), Uses: make(map[*ast.Ident]types.Object), Defs: make(map[*ast.Ident]types.Object), Selections: make(map[*ast.SelectorExpr]*types.Selection)},
	}
	exports := make(map[string]string)
	imports := importer.ForCompiler(p.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	for d := goList(t, args...); ; { // in order of dependence
		var pkg struct {
			ImportPath, Dir, Export string
			GoFiles                 []string
		}
		if err := d.Decode(&pkg); errors.Is(err, io.EOF) {
			return p
		} else if err != nil {
			t.Fatal(err)
		}
		exports[pkg.ImportPath] = pkg.Export
		if !strings.HasPrefix(pkg.ImportPath, module+"/") {
			continue
		}
		for _, name := range pkg.GoFiles {
			f, err := parser.ParseFile(p.fset, filepath.Join(pkg.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			p.files[pkg.ImportPath] = append(p.files[pkg.ImportPath], f)
		}
		conf := types.Config{Importer: imports}
		if _, err := conf.Check(pkg.ImportPath, p.fset, p.files[pkg.ImportPath], p.info); err != nil {
			t.Fatal(err)
		}
		p.index(pkg.ImportPath)
	}
}

// index notes the functions and the excuses of a package.
func (p *purity) index(path string) {
	for _, f := range p.files[path] {
		for _, d := range f.Decls {
			if d, ok := d.(*ast.FuncDecl); ok {
				name := p.info.Defs[d.Name].(*types.Func).FullName()
				p.bodies[name] = d
				p.seen[name] = slices.Contains(cores, ours(path)) // checked as part of their files
			}
		}
		for _, group := range f.Comments {
			for _, c := range group.List {
				if anyOrder.MatchString(c.Text) {
					p.reasons[p.line(c)] = c.Text
				}
			}
		}
	}
}

func (p *purity) line(n ast.Node) string {
	pos := p.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", pos.Filename, pos.Line)
}

func (p *purity) complain(n ast.Node, format string, args ...any) {
	p.found = append(p.found, p.line(n)+": "+fmt.Sprintf(format, args...))
}

// check looks at everything below n.
func (p *purity) check(n ast.Node) {
	sorted := make(map[*ast.Ident]bool) // the functions whose result is sorted at once
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			p.complain(n, "starts a goroutine")
		case *ast.SelectStmt, *ast.SendStmt, *ast.ChanType:
			p.complain(n, "uses a channel")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				p.complain(n, "uses a channel")
			}
			if n.Op == token.AND {
				p.written(n.X)
			}
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, lhs := range n.Lhs {
					p.written(lhs)
				}
			}
		case *ast.IncDecStmt:
			p.written(n.X)
		case *ast.RangeStmt:
			if n.Tok == token.ASSIGN {
				p.written(n.Key)
				p.written(n.Value)
			}
			p.ranged(n)
		case *ast.CallExpr:
			p.call(n, sorted)
		case *ast.SelectorExpr:
			p.selected(n)
		case *ast.Ident:
			p.used(n, sorted[n])
		case *ast.BasicLit:
			if n.Kind == token.STRING && pointerVerb.MatchString(n.Value) {
				p.complain(n, "prints an address")
			}
		}
		return true
	})
}

var pointerVerb = regexp.MustCompile(`%[-+# 0-9.*\[\]]*p`)

// ranged refuses a loop over a map or a channel.
func (p *purity) ranged(n *ast.RangeStmt) {
	for t := range terms(p.info.TypeOf(n.X)) {
		switch t.(type) {
		case *types.Chan:
			p.complain(n, "uses a channel")
		case *types.Map:
			if p.reasons[p.line(n)] == "" {
				p.complain(n, "ranges over a map: use wire.Keys, or say after it why the order cannot matter: // any order: …")
				continue
			}
			p.excused++
		}
	}
}

// terms returns the underlying type of t, or all that a type parameter may stand for.
func terms(t types.Type) iter.Seq[types.Type] {
	return func(yield func(types.Type) bool) {
		i, ok := t.Underlying().(*types.Interface)
		if !ok {
			yield(t.Underlying())
			return
		}
		for e := range i.EmbeddedTypes() {
			u, ok := e.(*types.Union)
			if !ok {
				for under := range terms(e) {
					if !yield(under) {
						return
					}
				}
				continue
			}
			for term := range u.Terms() {
				if !yield(term.Type().Underlying()) {
					return
				}
			}
		}
	}
}

// call notes what is sorted at once, and refuses built-in functions that change a
// variable of a package, and to print what may be an address.
func (p *purity) call(n *ast.CallExpr, sorted map[*ast.Ident]bool) {
	f := p.info.Uses[name(n.Fun)]
	switch f := f.(type) {
	case *types.Builtin:
		if slices.Contains([]string{"clear", "copy", "delete"}, f.Name()) {
			p.written(n.Args[0])
		}
	case *types.Func:
		if f.Pkg() != nil && f.Pkg().Path() == "fmt" {
			p.printed(n)
		}
		if f.Pkg() == nil || f.Pkg().Path() != "slices" || !strings.HasPrefix(f.Name(), "Sorted") {
			return
		}
		if inner, ok := n.Args[0].(*ast.CallExpr); ok {
			sorted[name(inner.Fun)] = true
		}
	}
}

// printed refuses arguments of fmt that print an address. Sscan and its like want one.
func (p *purity) printed(n *ast.CallExpr) {
	if strings.Contains(name(n.Fun).Name, "scan") {
		return
	}
	for _, arg := range n.Args {
		if what := addressed(p.info.TypeOf(arg)); what != "" {
			p.complain(arg, "prints a %s", what)
		}
	}
}

// addressed returns what in a value of the type fmt prints as an address, as far as
// types tell: "" for what prints itself, and for an interface.
func addressed(t types.Type) string {
	for _, method := range []string{"Error", "String", "Format"} {
		if o, _, _ := types.LookupFieldOrMethod(t, false, nil, method); o != nil {
			if _, ok := o.(*types.Func); ok {
				return ""
			}
		}
	}
	switch t := t.Underlying().(type) {
	case *types.Pointer:
		return "pointer"
	case *types.Map:
		return "map"
	case *types.Chan:
		return "channel"
	case *types.Signature:
		return "function"
	case *types.Slice:
		return addressed(t.Elem())
	case *types.Array:
		return addressed(t.Elem())
	case *types.Struct:
		for f := range t.Fields() {
			if what := addressed(f.Type()); what != "" {
				return what
			}
		}
	}
	return ""
}

// name returns the identifier that names a function, nil for a function without one.
func name(fun ast.Expr) *ast.Ident {
	switch fun := ast.Unparen(fun).(type) {
	case *ast.Ident:
		return fun
	case *ast.SelectorExpr:
		return fun.Sel
	case *ast.IndexExpr:
		return name(fun.X)
	case *ast.IndexListExpr:
		return name(fun.X)
	}
	return nil
}

// impure lists what the cores must not use of packages that they may import, by the
// package and the name, with the receiver's type before that of a method.
var impure = map[string]string{
	"time.Now": "asks the clock", "time.Since": "asks the clock", "time.Until": "asks the clock",
	"time.After": "starts a timer", "time.AfterFunc": "starts a timer", "time.NewTimer": "starts a timer",
	"time.Tick": "starts a timer", "time.NewTicker": "starts a timer", "time.Sleep": "waits",
	"time.Local": "asks for this machine's time zone", "(time.Time).Local": "asks for this machine's time zone", "time.LoadLocation": "reads a file",
	"maps.Keys": unsorted, "maps.Values": unsorted, "maps.All": unsorted,
	"maps.DeleteFunc": unsorted, "maps.EqualFunc": unsorted,
	"(reflect.Value).MapRange": unsorted, "(reflect.Value).MapKeys": unsorted, "(reflect.Value).Seq": unsorted, "(reflect.Value).Seq2": unsorted,
	"(reflect.Value).Pointer": "asks for an address", "(reflect.Value).UnsafePointer": "asks for an address",
}

const unsorted = "takes a map in any order, and does not sort at once"

// used refuses what is impure, and follows a function of ours.
func (p *purity) used(id *ast.Ident, sorted bool) {
	switch o := p.info.Uses[id].(type) {
	case *types.Func:
		full := o.Origin().FullName()
		if why := impure[full]; why != "" && !(sorted && why == unsorted) {
			p.complain(id, "%s: %s", full, why)
		}
		if _, ok := p.bodies[full]; ok && !p.seen[full] {
			p.seen[full] = true
			p.called = append(p.called, full)
		}
	case *types.Var:
		if o.Pkg() != nil && impure[o.Pkg().Path()+"."+o.Name()] != "" && global(o) {
			p.complain(id, "%s.%s: %s", o.Pkg().Path(), o.Name(), impure[o.Pkg().Path()+"."+o.Name()])
		}
	}
}

// selected refuses a method that may change a variable of a package.
func (p *purity) selected(n *ast.SelectorExpr) {
	s := p.info.Selections[n]
	if s == nil || s.Kind() != types.MethodVal {
		return
	}
	f := s.Obj().(*types.Func)
	if _, byPointer := f.Signature().Recv().Type().(*types.Pointer); !byPointer {
		return
	}
	if _, pointer := p.info.TypeOf(n.X).Underlying().(*types.Pointer); !pointer {
		p.written(n.X)
	}
}

// written refuses a change of a variable of a package, or of a part of one.
func (p *purity) written(e ast.Expr) {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
			continue
		case *ast.StarExpr:
			e = x.X
			continue
		case *ast.IndexExpr:
			e = x.X
			continue
		case *ast.SliceExpr:
			e = x.X
			continue
		case *ast.SelectorExpr:
			if v, ok := p.info.Uses[x.Sel].(*types.Var); ok && global(v) {
				p.complain(e, "may change %s.%s", v.Pkg().Path(), v.Name())
				return
			}
			e = x.X
			continue
		case *ast.Ident:
			if v, ok := p.info.Uses[x].(*types.Var); ok && global(v) {
				p.complain(e, "may change %s.%s", v.Pkg().Path(), v.Name())
			}
		}
		return
	}
}

// global reports whether v belongs to a package, not to a function or a type.
func global(v *types.Var) bool { return v.Pkg() != nil && v.Parent() == v.Pkg().Scope() }
