"""What a site's monitoring sees of links, hosts, nodes and consensus groups, and the incidents behind it."""
