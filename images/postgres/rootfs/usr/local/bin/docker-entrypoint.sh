#!/bin/bash
# Starts PostgreSQL as users of the official image expect: the same variables, the same folder of scripts.
#
# A cluster is made in full, out of sight, and only then takes its place in PGDATA, PG_VERSION last. So a start that
# is killed half-way leaves nothing that looks like a database, and a volume with a lost+found is as good as any.
set -Eeuo pipefail

# bash is process 1 until it becomes the server, and process 1 ignores the signals that it does not handle.
trap 'exit 143' TERM
trap 'exit 130' INT

# FOO or FOO_FILE, not both.
file_env() {
    local name=$1 file_name=$1_FILE default=${2:-}
    if [ -n "${!name:-}" ] && [ -n "${!file_name:-}" ]; then
        echo "Error: both $name and $file_name are set, but only one may be." >&2
        exit 1
    fi
    local value=$default
    if [ -n "${!name:-}" ]; then
        value=${!name}
    elif [ -n "${!file_name:-}" ]; then
        value=$(< "${!file_name}")
    fi
    export "$name=$value"
    unset "$file_name"
}

require_password() {
    if [ -n "$POSTGRES_PASSWORD" ] || [ "${POSTGRES_HOST_AUTH_METHOD:-}" = trust ]; then
        return
    fi
    cat >&2 <<'MESSAGE'
Error: Database is uninitialized and superuser password is not specified.
       Set POSTGRES_PASSWORD to a non-empty value: in a pod, env with a secretKeyRef to a key of a Secret.
       (POSTGRES_HOST_AUTH_METHOD=trust lets everyone in without a password. Not for anything that matters.)
MESSAGE
    exit 1
}

# PGDATA may hold nothing but what a file system or an earlier, unfinished start has left.
require_empty() {
    local found
    found=$(find "$PGDATA" -mindepth 1 -maxdepth 1 ! -name lost+found ! -name .making -print -quit)
    if [ -n "$found" ]; then
        echo "Error: $PGDATA is not empty and holds no database (no PG_VERSION, but ${found##*/})." >&2
        echo "       Give it an empty volume, or set PGDATA to a folder inside this one." >&2
        exit 1
    fi
}

make_cluster() {
    local new=$PGDATA/.making
    rm -rf "$new"
    mkdir -m 0700 "$new"
    # One sync at the end, in place of one for each of a thousand files.
    local options=(--pgdata="$new" --username="$POSTGRES_USER" --no-sync --no-instructions)
    # POSTGRES_INITDB_ARGS is a piece of shell, quotes and all.
    eval 'options+=('"$POSTGRES_INITDB_ARGS"')'
    if [ -n "$POSTGRES_PASSWORD" ]; then
        initdb "${options[@]}" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD")
    else
        initdb "${options[@]}"
    fi | sed '/^Sync to disk skipped/,/^The data directory/d'
    local method=${POSTGRES_HOST_AUTH_METHOD:-}
    printf '\nhost all all all %s\n' "${method:-$(postgres -D "$new" -C password_encryption)}" >> "$new/pg_hba.conf"

    local scripts=(/docker-entrypoint-initdb.d/*)
    if [ "$POSTGRES_DB" != postgres ] || [ -e "${scripts[0]}" ]; then
        fill_cluster "$new" "${scripts[@]}"
    fi
    sync -f "$new"
    mv "$new" "$PGDATA/.made"
}

# A server that nobody outside can reach, for the database and the scripts that were asked for.
fill_cluster() {
    local new=$1
    shift
    local sockets
    sockets=$(mktemp -d)
    PGDATA=$new pg_ctl --wait --silent --options="-c listen_addresses='' -c fsync=off -k '$sockets'" start
    export PGHOST=$sockets PGUSER=$POSTGRES_USER PGPASSWORD=$POSTGRES_PASSWORD PGDATABASE=$POSTGRES_DB
    local sql=(psql --no-psqlrc --set=ON_ERROR_STOP=1 --quiet)
    if [ "$POSTGRES_DB" != postgres ]; then
        echo 'CREATE DATABASE :"db";' | "${sql[@]}" --dbname=postgres --set=db="$POSTGRES_DB"
    fi
    local script
    for script in "$@"; do
        [ ! -e "$script" ] || echo "$0: running $script"
        case $script in
            *.sh) if [ -x "$script" ]; then "$script"; else . "$script"; fi ;;
            *.sql) "${sql[@]}" --file="$script" ;;
            *.sql.gz) gunzip --stdout "$script" | "${sql[@]}" ;;
        esac
    done
    unset PGHOST PGUSER PGPASSWORD PGDATABASE
    PGDATA=$new pg_ctl --wait --silent --mode=fast stop
    rm -rf "$sockets"
}

# The cluster is complete: move it into place, the file that makes it a cluster last. May be done over after a kill.
move_cluster() {
    find "$PGDATA/.made" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" {} +
    sync -f "$PGDATA"
    mv "$PGDATA/.made/PG_VERSION" "$PGDATA/"
    rmdir "$PGDATA/.made"
}

wants_help() {
    local argument
    for argument in "$@"; do
        case $argument in -'?' | --help | --describe-config | -V | --version) return 0 ;; esac
    done
    return 1
}

if [ "${1:0:1}" = - ]; then
    set -- postgres "$@"
fi
if [ "${1:-}" != postgres ] || wants_help "$@"; then
    exec "$@"
fi

if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chown postgres:postgres "$PGDATA" /var/run/postgresql
    find "$PGDATA" -mindepth 1 ! -user postgres ! -name lost+found -exec chown -h postgres:postgres {} +
    chmod 3777 /var/run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
fi

mkdir -p "$PGDATA"
# Not ours to change when a group may share the volume: the server accepts 0750 too, and says so when it does not.
chmod 0700 "$PGDATA" 2> /dev/null || :
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ ! -e "$PGDATA/.made" ]; then
        file_env POSTGRES_PASSWORD
        file_env POSTGRES_USER postgres
        file_env POSTGRES_DB "$POSTGRES_USER"
        file_env POSTGRES_INITDB_ARGS
        require_password
        require_empty
        make_cluster
    fi
    move_cluster
fi
unset POSTGRES_PASSWORD
exec "$@"
