package stale

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/ebbgate/ebbgate/wire"
)

const app wire.App = "edge-proxy"

// writeBundle writes the source of a version. Pages may be kept for an hour, and served
// stale for as long while they are fetched anew; they are purged by a key of their own and
// by the generation that they were made by.
func writeBundle(dir, version, origin string) error {
	fill := strings.NewReplacer("VERSION", version, "ORIGIN", origin)
	for name, text := range map[string]string{
		"bundle.yaml": `app: edge-proxy
version: "VERSION"
limits: {files: 10, bytes: 100000}
probes:
- {path: /probe, status: 200}
purge:
- {files: "site/**", selectors: ["key:page", "key:gen:{app}.{region}-{epoch}"]}
`,
		"files/site/page.txt": page(version),
		"files/nginx.conf": `# The workers are root's only because this fleet lives in one user's directory.
user root;
worker_processes 1;
events { worker_connections 4096; }
http {
	access_log off;
	default_type text/plain;
	server {
		listen @listen@;
		include @ebbgate@;
		root @release@/site;
		location ~ ^/[a-z0-9]+/[ab]/(hot|cold)/ {
			include @headers@;
			add_header Surrogate-Key page;
			add_header Cache-Tag page;
			add_header Cache-Control "max-age=3600, stale-while-revalidate=3600";
			rewrite ^ /page.txt break;
		}
		location ~ ^/[a-z0-9]+/[ab]/slow/ {
			include @headers@;
			add_header Surrogate-Key page;
			add_header Cache-Tag page;
			add_header Cache-Control "max-age=3600, stale-while-revalidate=3600";
			proxy_set_header X-Version @version@;
			proxy_pass http://ORIGIN;
		}
		location = /probe { proxy_pass http://ORIGIN/probe/@version@; }
	}
}
`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(fill.Replace(text)), 0o644); err != nil {
			return err
		}
	}
	return nil
}
