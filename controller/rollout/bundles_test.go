package rollout

import (
	"reflect"
	"testing"

	"github.com/ebbgate/ebbgate/wire"
)

// Every digest that a record has a place for is one that it names.
func TestBundles(t *testing.T) {
	var rec Record
	n := byte(0)
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		switch {
		case v.Type() == reflect.TypeFor[wire.Digest]():
			n++
			v.Set(reflect.ValueOf(wire.DigestOf([]byte{n})))
		case v.Type() == reflect.TypeFor[wire.PackRef](): // the index of a pack, not of a bundle
		case v.Type().PkgPath() == "time":
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					fill(v.Field(i))
				}
			}
		case v.Kind() == reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem())
		case v.Kind() == reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0))
		case v.Kind() == reflect.Map:
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			if key.Kind() == reflect.String {
				key.SetString("eu")
			}
			fill(value)
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(key, value)
		}
	}
	fill(reflect.ValueOf(&rec).Elem())
	got := rec.Bundles()
	for i := range n {
		if d := wire.DigestOf([]byte{i + 1}); !got[d] {
			t.Errorf("digest %d of the record is not among its bundles", i+1)
		}
	}
	if len(got) != int(n) || n < 8 {
		t.Errorf("%d bundles for %d digests", len(got), n)
	}
	if len((Record{Regions: map[wire.Region]RegionRecord{"eu": {}}}).Bundles()) != 0 {
		t.Error("an empty record names a bundle")
	}
}
