package config_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"testing/fstest"

	"github.com/ebbgate/ebbgate/cdn/config"
	"github.com/ebbgate/ebbgate/cdn/config/configtest"
	"github.com/ebbgate/ebbgate/cdn/config/fastly"
)

// A release takes over an edge dictionary that was filled by hand, and is taken back.
func ExampleKeeper() {
	remote := configtest.NewFastly("token") // stands in for api.fastly.com
	api := httptest.NewServer(remote)
	defer api.Close()
	path := configtest.DictionaryPath("S1", "D1")
	remote.SetItems(path, 1000, map[string]string{"banner": "by hand"})
	dir, err := os.MkdirTemp("", "")
	must(err)
	defer os.RemoveAll(dir)

	target, err := fastly.NewDictionary(fastly.Account{Token: "token", Endpoint: api.URL}, "S1", "D1", 0)
	must(err)
	keeper, err := config.NewKeeper(config.KeeperConfig{Target: target, Dir: dir, Settle: 1}) // really 30 s
	must(err)
	release := config.Release{ID: "1.4.0@17", Content: "1.4.0", Files: fstest.MapFS{
		"dictionary.json": {Data: []byte(`{"banner": "sale", "limit": "100"}`)},
	}}
	ctx := context.Background()
	must(keeper.Validate(ctx, release)) // changes nothing
	must(keeper.Activate(ctx, release)) // may be repeated, after a crash too
	evidence, err := keeper.Confirm(ctx, release)
	must(err)
	fmt.Println(evidence)
	fmt.Println(remote.Items(path))
	must(keeper.Restore(ctx))
	fmt.Println(remote.Items(path))
	// Output:
	// dictionary D1 of service S1 shows 1.4.0@17 and its 2 items
	// map[banner:sale ebbgate-release:1.4.0@17 limit:100]
	// map[banner:by hand]
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
