# What the scripts for trial brokers share: free ports, certificates, and finding a process again.
#
# Sourced by bash with `set -euo pipefail`, like deploy/lib.sh, which it brings along.
# shellcheck shell=bash
# shellcheck source=deploy/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# ports_free COUNT: COUNT ports on which nothing listens, one a line. They are below the range from which the system gives ports to
# clients: else a broker that restarts may find its own port taken.
ports_free() {
	local count=$1 port taken=' '
	while ((count)); do
		port=$((20000 + RANDOM % 12000))
		if [[ $taken != *" $port "* ]] && ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			say "$port"
			taken+="$port "
			count=$((count - 1))
		fi
	done
}

# certificates_make DIR: an authority (ca.pem), and signed by it broker.pem and client.pem with their keys, valid for 127.0.0.1 and localhost
certificates_make() {
	local dir=$1 name
	command -v openssl >/dev/null || die "openssl is missing, which makes the certificates: apt-get install openssl"
	mkdir -p "$dir"
	quietly openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=MQPaaS trial CA" \
		-keyout "$dir/ca.key" -out "$dir/ca.pem"
	for name in broker client; do
		quietly openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$dir/$name.key" -out "$dir/$name.csr"
		quietly openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days 3650 \
			-extfile <(say "subjectAltName=DNS:localhost,IP:127.0.0.1") -out "$dir/$name.pem"
	done
}

# process_of FILE PROGRAM WORD: the process whose id FILE has, if it is that program and has WORD in its arguments; else it fails
process_of() {
	local pid arguments
	[[ -s $1 ]] && pid=$(<"$1") && [[ $(readlink "/proc/$pid/exe") == */"$2" ]] || return 1
	arguments=$(tr '\0' ' ' <"/proc/$pid/cmdline") && [[ $arguments == *"$3"* ]] && say "$pid"
}
