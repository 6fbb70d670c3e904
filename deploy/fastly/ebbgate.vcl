# Generation fence for github.com/ebbgate/ebbgate/cdn/fastly. A dictionary refuses nothing by
# itself: the VCL of the service has to look it up.
#
# Written from Fastly's VCL reference, not tried at Fastly. Make a dictionary that is called
# ebbgate, put this into vcl_fetch of the service, behind the fetch macro, or add it as a
# snippet of type fetch without the two outer lines; then name the dictionary's id in
# controller.yaml:
#
#     providers:
#       edge: {kind: fastly, token_file: fastly.token, fences: {<service id>: <dictionary id>}}
#
# The origin says the generation of each answer in X-Ebbgate-Gen, see ../tags. The controller
# raises the item mingen-<region> before it purges; an answer that is older is passed on and
# not kept.

sub vcl_fetch {
  if (beresp.http.X-Ebbgate-Gen ~ "^([a-z0-9.-]+)-([0-9]{1,15})$" &&
      std.atoi(re.group.2) < std.atoi(table.lookup(ebbgate, "mingen-" re.group.1, "0"))) {
    set beresp.ttl = 0s;
    set beresp.cacheable = false;
  }
}
