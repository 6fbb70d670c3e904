package lab

import (
	"fmt"
	"os"
	"path/filepath"
)

// Bundle writes the source of a small edge-proxy bundle that both the builtin server and
// nginx can serve. Its front page says greeting; rules is its only other content. A
// broken one is valid and answers 500 to the front page.
func Bundle(dir, version, greeting, rules string, broken bool) error {
	page := "root @release@/site;"
	respond := ""
	if broken {
		page = "return 500;"
		respond = `{"path": "/", "status": 500, "body": "oops"}`
	}
	files := map[string]string{
		"bundle.yaml": fmt.Sprintf(`app: edge-proxy
version: %q
limits: {files: 100, bytes: 1000000}
probes:
- {path: /, status: 200}
purge:
- {files: "site/index.html", selectors: ["key:home"]}
- {files: "site/rules.json", selectors: ["key:rules"]}
`, version),
		"files/site/index.html": fmt.Sprintf("<!doctype html>\n<title>%s</title>\n<p>%[1]s\n", greeting),
		"files/site/rules.json": fmt.Sprintf("{\"rules\": %q}\n", rules),
		"files/builtin.json":    fmt.Sprintf(`{"respond": [%s], "surrogate_keys": {"index.html": ["home"], "rules.json": ["rules"]}}`+"\n", respond),
		"files/nginx.conf": `# The workers are root's only because this fleet lives in one user's directory.
user root;
worker_processes 1;
events { worker_connections 512; }
http {
	access_log off;
	default_type text/html;
	server {
		listen @listen@;
		include @ebbgate@;
		location / { ` + page + ` }
	}
}
`,
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
