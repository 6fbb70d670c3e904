package tags_test

import (
	"path/filepath"
)

// server is one snippet with the server it is for.
type server struct {
	snippet string // file here; in the bundle with .ebbgate behind its name
	binary  string
	// routes are what the snippet's user adds: /page, whose body is the release's version,
	// /moved, /denied and /broken by the server itself, and /api/ by the origin.
	routes string
	// command runs the server in the foreground; reload is its hook.
	command, reload func(s *site) []string
	missing         string // a path that answers 404
	oneHeader       bool   // sees only the first of several headers of one name
	replaced        bool   // a reload makes a new process or server, which takes new connections only
}

// servers are all snippets. net/http runs in the test itself.
var servers = map[string]server{
	"nginx": {
		snippet: "nginx.conf", binary: "nginx", missing: "/missing", oneHeader: true, replaced: true,
		routes: `
			location = /page { default_type text/plain; }
			location = /moved { return 301 /page; }
			location = /denied { deny all; }
			location = /broken { proxy_pass http://DEAD; }
			location /api/ { proxy_pass http://ORIGIN; }`,
		command: func(s *site) []string {
			main := filepath.Join(s.dir, "main.conf")
			s.write(main, "user root; daemon off; pid "+s.dir+"/pid; error_log stderr crit; events {}\n"+
				"http { access_log off; include "+s.live("nginx.conf")+"; }\n")
			return []string{s.path, "-e", "stderr", "-c", main}
		},
		reload: func(s *site) []string {
			return []string{s.path, "-e", "stderr", "-c", s.dir + "/main.conf", "-s", "reload"}
		},
	},
	"haproxy": {
		snippet: "haproxy.cfg", binary: "haproxy", missing: "/api/missing", replaced: true,
		routes: `
	http-request return status 200 content-type text/plain file "${EBBGATE_DIR}/site/page" if { path /page }
	http-request redirect location /page if { path /moved }
	http-request deny if { path /denied }
	use_backend dead if { path /broken }
	default_backend origin
backend origin
	server s ORIGIN
backend dead
	retries 0
	server s DEAD
`,
		command: func(s *site) []string {
			return []string{s.path, "-W", "-p", s.dir + "/pid", "-f", s.live("haproxy.cfg")}
		},
		reload: func(s *site) []string { return []string{"/bin/sh", "-c", "kill -USR2 $(cat " + s.dir + "/pid)"} },
	},
	"caddy": {
		snippet: "Caddyfile", binary: "caddy", missing: "/missing", replaced: true,
		routes: `
	redir /moved /page
	respond /denied 403
	reverse_proxy /broken DEAD
	reverse_proxy /api/* ORIGIN
	file_server
`,
		command: func(s *site) []string { return []string{s.path, "run", "--config", s.live("Caddyfile")} },
		reload: func(s *site) []string {
			return []string{s.path, "reload", "--config", s.live("Caddyfile"), "--address", s.admin}
		},
	},
	"varnish": {
		snippet: "varnish.vcl", binary: "varnishd", missing: "/api/missing",
		routes: `
backend origin { .host = "ORIGIN_HOST"; .port = "ORIGIN_PORT"; }
backend dead { .host = "DEAD_HOST"; .port = "DEAD_PORT"; }
sub vcl_recv {
	if (req.url == "/moved") { return (synth(301)); }
	if (req.url == "/denied") { return (synth(403)); }
	if (req.url == "/broken") { set req.backend_hint = dead; }
	if (req.url == "/page") { return (pass); }
}
sub vcl_backend_fetch { set bereq.http.Want = "@version@"; }
sub vcl_backend_response { if (bereq.url == "/api/short") { set beresp.ttl = 0.1s; set beresp.grace = 1h; set beresp.keep = 1h; } }
sub vcl_synth { if (resp.status == 301) { set resp.http.Location = "/page"; } }
`,
		command: func(s *site) []string {
			return []string{s.path, "-F", "-j", "none", "-n", s.dir + "/work", "-a", s.addr, "-f", s.live("varnish.vcl"),
				"-s", "malloc,16m", "-p", "thread_pools=1", "-p", "thread_pool_min=5"}
		},
		reload: func(s *site) []string {
			hook, err := filepath.Abs("reload-varnish")
			if err != nil {
				s.t.Fatal(err)
			}
			return []string{hook, s.live("varnish.vcl"), "-n", s.dir + "/work"}
		},
	},
	"net-http": {missing: "/missing"},
}
