// pgx: its cache of prepared statements, batches, the simple protocol, COPY in binary, a pool.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

var ctx = context.Background()

func code(err error) string {
	var failure *pgconn.PgError
	if errors.As(err, &failure) {
		return failure.Code + " " + failure.Message + " " + failure.ConstraintName
	}
	return fmt.Sprint(err != nil)
}

func ask(c *pgx.Conn, sql string, values ...any) {
	rows, err := c.Query(ctx, sql, values...)
	if err != nil {
		fmt.Println(strings.Fields(sql)[0], "error", code(err))
		return
	}
	for _, field := range rows.FieldDescriptions() {
		fmt.Print(field.Name, ":", field.DataTypeOID, " ")
	}
	for rows.Next() {
		row, err := rows.Values()
		fmt.Print("| ", row, " ", code(err))
	}
	fmt.Println(" ", rows.CommandTag(), code(rows.Err()))
}

func script(c *pgx.Conn) {
	ask(c, "SELECT 1::int4, 2::int8, 'x'::text, true, NULL::text, '{1,2}'::int[], date '2024-02-03', '{\"a\": 1}'::jsonb")
	for key := int64(1); key <= 6; key++ {
		ask(c, "INSERT INTO account (id, owner, balance, flags) VALUES ($1, $2, $3, $4) RETURNING id, owner, balance", key, fmt.Sprint("owner ", key), "10.25", []int32{1, 2})
	}
	for turn := int64(0); turn < 10; turn++ {
		ask(c, "SELECT id, owner, flags FROM account WHERE id = $1", turn%7)
	}
	ask(c, "INSERT INTO account (id, owner) VALUES ($1, $2)", int64(1), "again")
	ask(c, "SELEC 1")
	ask(c, "SELECT * FROM nowhere WHERE id = $1", 1)
	ask(c, "SELECT 1 / $1::int4", 0)
	batch := &pgx.Batch{}
	for n := 0; n < 20; n++ {
		batch.Queue("INSERT INTO entry VALUES (3, $1, $2)", n, "w")
	}
	batch.Queue("SELECT count(*) FROM entry WHERE account = 3")
	results := c.SendBatch(ctx, batch)
	for n := 0; n < 20; n++ {
		tag, err := results.Exec()
		fmt.Print(tag, code(err), " ")
	}
	var count int
	fmt.Println(results.QueryRow().Scan(&count), count, results.Close())
	batch = &pgx.Batch{}
	batch.Queue("SELECT owner FROM account WHERE id = 3")
	batch.Queue("INSERT INTO entry VALUES (3, 1, 'twice')")
	batch.Queue("SELECT 2")
	fmt.Println("batch", code(c.SendBatch(ctx, batch).Close()))
	err := pgx.BeginFunc(ctx, c, func(outer pgx.Tx) error {
		inner, err := outer.Begin(ctx)
		if err != nil {
			return err
		}
		_, err = inner.Exec(ctx, "INSERT INTO entry VALUES (3, 1, 'twice')")
		fmt.Println("inner", code(err), inner.Rollback(ctx))
		_, err = outer.Exec(ctx, "UPDATE account SET balance = 7 WHERE id = $1", int64(3))
		return err
	})
	fmt.Println("transaction", code(err))
	ask(c, "SELECT balance::text FROM account WHERE id = 3")
	rows := [][]any{}
	for n := 0; n < 200; n++ {
		rows = append(rows, []any{int32(n), fmt.Sprint("v", n)})
	}
	copied, err := c.CopyFrom(ctx, pgx.Identifier{"plain"}, []string{"id", "v"}, pgx.CopyFromRows(rows))
	fmt.Println("copied", copied, code(err))
	copied, err = c.CopyFrom(ctx, pgx.Identifier{"plain"}, []string{"id", "v"}, pgx.CopyFromRows(rows))
	fmt.Println("copied", copied, code(err))
	ask(c, "DELETE FROM plain")
	soon, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	pid := c.PgConn().PID()
	go func() {
		time.Sleep(100 * time.Millisecond)
		_ = c.PgConn().CancelRequest(ctx)
	}()
	_, err = c.Exec(ctx, "SELECT pg_sleep(20)")
	fmt.Println("cancelled", code(err), pid != 0, soon.Err() == nil || true)
	ask(c, "DELETE FROM entry WHERE account = 3")
	for key := int64(1); key <= 6; key++ {
		ask(c, "DELETE FROM account WHERE id = $1 RETURNING owner", key)
	}
}

func main() {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe,
		pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		config, err := pgx.ParseConfig("")
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		config.DefaultQueryExecMode = mode
		c, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(mode)
		script(c)
		c.Close(ctx)
	}
	pool, err := pgxpool.New(ctx, "pool_max_conns=6")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var group sync.WaitGroup
	wrong := make(chan string, 400)
	for worker := 0; worker < 8; worker++ {
		group.Add(1)
		go func(worker int) {
			defer group.Done()
			for turn := 0; turn < 40; turn++ {
				var got int64
				err := pool.QueryRow(ctx, "SELECT $1::int8", int64(worker*1000+turn)).Scan(&got)
				if err != nil || got != int64(worker*1000+turn) {
					wrong <- fmt.Sprint(err, got)
				}
			}
		}(worker)
	}
	group.Wait()
	fmt.Println("pool, wrong answers:", len(wrong))
	pool.Close()
}
