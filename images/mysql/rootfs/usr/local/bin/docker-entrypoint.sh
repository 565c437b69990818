#!/bin/bash
# Starts MariaDB as users of the official MySQL image expect: the same variables, the same folder of scripts.
#
# A database is made in full, out of sight, and only then takes its place in the volume, the folder "mysql" last. So a
# start that is killed half-way leaves nothing that looks like a database.
set -Eeuo pipefail

# bash is process 1 until it becomes the server, and process 1 ignores the signals that it does not handle.
trap 'exit 143' TERM
trap 'exit 130' INT

data=/var/lib/mysql

# FOO or FOO_FILE, not both.
file_env() {
    local name=$1 file_name=$1_FILE
    if [ -n "${!name:-}" ] && [ -n "${!file_name:-}" ]; then
        echo "Error: both $name and $file_name are set, but only one may be." >&2
        exit 1
    fi
    local value=${!name:-}
    if [ -n "${!file_name:-}" ]; then
        value=$(< "${!file_name}")
    fi
    export "$name=$value"
    unset "$file_name"
}

require_password() {
    if [ -n "$MYSQL_ROOT_PASSWORD$MYSQL_ALLOW_EMPTY_PASSWORD" ]; then
        return
    fi
    cat >&2 <<'MESSAGE'
Error: Database is uninitialized and password option is not specified.
       Set MYSQL_ROOT_PASSWORD: in a pod, env with a secretKeyRef to a key of a Secret.
       (MYSQL_ALLOW_EMPTY_PASSWORD=yes lets everyone in without a password. Not for anything that matters.)
MESSAGE
    exit 1
}

require_empty() {
    local found
    found=$(find "$data" -mindepth 1 -maxdepth 1 ! -name lost+found ! -name .making -print -quit)
    if [ -n "$found" ]; then
        echo "Error: $data is not empty and holds no database (no folder mysql, but ${found##*/})." >&2
        exit 1
    fi
}

# The configuration, in this server's words. MySQL's super-read-only is MariaDB's read-only.
write_configuration() {
    printf '[mysqld]\nuser=mysql\nskip-name-resolve\nbind-address=*\nsocket=/run/mysqld/mysqld.sock\n' > "$1"
    printf '[client]\nsocket=/run/mysqld/mysqld.sock\n' >> "$1"
    local file
    for file in /etc/mysql/conf.d/*.cnf; do
        [ ! -e "$file" ] || { cat "$file"; echo; } | sed -E 's/^super[-_]read[-_]only/read-only/' >> "$1"
    done
}

sql_string() {
    local quote="'" text=${1//\\/\\\\}
    printf "'%s'" "${text//$quote/$quote$quote}"
}

accounts() {
    local password
    password=$(sql_string "$MYSQL_ROOT_PASSWORD")
    echo "SET @@SESSION.SQL_LOG_BIN=0;"
    # A fresh database has roots for several hosts, none with a password.
    echo "DELETE FROM mysql.global_priv WHERE User <> 'mariadb.sys' AND NOT (User = 'root' AND Host = 'localhost');"
    echo "FLUSH PRIVILEGES;"
    echo "ALTER USER 'root'@'localhost' IDENTIFIED BY $password;"
    echo "CREATE USER 'root'@'%' IDENTIFIED BY $password;"
    echo "GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;"
    if [ -n "$MYSQL_DATABASE" ]; then
        echo "CREATE DATABASE IF NOT EXISTS \`$MYSQL_DATABASE\`;"
    fi
    if [ -n "$MYSQL_USER" ] && [ -n "$MYSQL_PASSWORD" ]; then
        echo "CREATE USER $(sql_string "$MYSQL_USER")@'%' IDENTIFIED BY $(sql_string "$MYSQL_PASSWORD");"
        if [ -n "$MYSQL_DATABASE" ]; then
            echo "GRANT ALL ON \`${MYSQL_DATABASE//_/\\_}\`.* TO $(sql_string "$MYSQL_USER")@'%';"
        fi
    fi
}

make_database() {
    local new=$data/.making
    rm -rf "$new"
    mkdir -m 0700 "$new"
    # --force: whether the host's name can be looked up is of no interest.
    local options=(--no-defaults --datadir="$new" --skip-test-db --auth-root-authentication-method=normal --force)
    local words
    if ! words=$(mariadb-install-db "${options[@]}" 2>&1); then
        echo "$words" >&2
        exit 1
    fi
    local socket
    socket=$(mktemp -d)/server.sock
    mariadbd --no-defaults --datadir="$new" --skip-networking --socket="$socket" &
    local server=$!
    local client=(mariadb --no-defaults --protocol=socket --socket="$socket" --user=root)
    until "${client[@]}" --execute='SELECT 1' > /dev/null 2>&1; do
        kill -0 "$server"
        sleep 0.05
    done
    accounts | "${client[@]}"
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        [ ! -e "$script" ] || echo "$0: running $script"
        case $script in
            *.sh) if [ -x "$script" ]; then "$script"; else . "$script"; fi ;;
            *.sql) "${client[@]}" --password="$MYSQL_ROOT_PASSWORD" "$MYSQL_DATABASE" < "$script" ;;
            *.sql.gz) gunzip --stdout "$script" | "${client[@]}" --password="$MYSQL_ROOT_PASSWORD" "$MYSQL_DATABASE" ;;
        esac
    done
    kill "$server"
    wait "$server"
    rm -rf "$(dirname "$socket")"
    sync -f "$new"
    mv "$new" "$data/.made"
}

# The database is complete: move it into place, the folder that makes it one last. May be done over after a kill.
move_database() {
    find "$data/.made" -mindepth 1 -maxdepth 1 ! -name mysql -exec mv -t "$data" {} +
    sync -f "$data"
    mv "$data/.made/mysql" "$data/"
    rmdir "$data/.made"
}

if [ "${1:0:1}" = - ]; then
    set -- mysqld "$@"
fi
if [ "${1:-}" != mysqld ] && [ "${1:-}" != mariadbd ]; then
    exec "$@"
fi

if [ "$(id -u)" = 0 ]; then
    mkdir -p "$data" /run/mysqld
    chown mysql:mysql "$data" /run/mysqld
    find "$data" -mindepth 1 ! -user mysql ! -name lost+found -exec chown -h mysql:mysql {} +
    exec setpriv --reuid=mysql --regid=mysql --init-groups -- "$0" "$@"
fi

if [ ! -d "$data/mysql" ]; then
    if [ ! -d "$data/.made" ]; then
        for name in MYSQL_ROOT_PASSWORD MYSQL_ALLOW_EMPTY_PASSWORD MYSQL_DATABASE MYSQL_USER MYSQL_PASSWORD; do
            file_env "$name"
        done
        require_password
        require_empty
        make_database
    fi
    move_database
fi
unset MYSQL_ROOT_PASSWORD MYSQL_PASSWORD
write_configuration /run/mysqld/my.cnf
shift
exec mariadbd --defaults-file=/run/mysqld/my.cnf "$@"
