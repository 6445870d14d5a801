// JDBC: statements that become prepared on the server after five uses, batches, fetch sizes, COPY, cancel.
import java.io.StringReader;
import java.io.StringWriter;
import java.sql.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public class Jdbc {
    static Connection connection;

    static String show(ResultSet rows) throws SQLException {
        StringBuilder out = new StringBuilder();
        ResultSetMetaData meta = rows.getMetaData();
        for (int i = 1; i <= meta.getColumnCount(); i++)
            out.append(meta.getColumnName(i)).append(':').append(meta.getColumnType(i)).append(' ');
        while (rows.next()) {
            out.append("| ");
            for (int i = 1; i <= meta.getColumnCount(); i++)
                out.append(rows.getString(i)).append(' ');
        }
        return out.toString();
    }

    static void ask(String sql, Object... values) {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++)
                statement.setObject(i + 1, values[i]);
            boolean rows = statement.execute();
            System.out.println(rows ? show(statement.getResultSet()) : "count " + statement.getUpdateCount());
            for (SQLWarning w = statement.getWarnings(); w != null; w = w.getNextWarning())
                System.out.println("warning " + w.getSQLState() + " " + w.getMessage());
        } catch (SQLException error) {
            System.out.println("error " + error.getSQLState() + " " + error.getMessage().split("\n")[0]);
        }
    }

    static void queries(String mode) throws Exception {
        ask("SELECT 1, 2::int8, 1.50::numeric, 'x'::text, true, NULL, date '2024-02-03', '{1,2}'::int[], '{\"a\": 1}'::jsonb");
        for (long key = 1; key <= 6; key++)
            ask("INSERT INTO account (id, owner, balance, token) VALUES (?, ?, ?, ?) RETURNING *", key, "owner " + key,
                new java.math.BigDecimal("10.25"), new UUID(0, key));
        for (long turn = 0; turn < 14; turn++)
            ask("SELECT id, owner, balance, made FROM account WHERE id = ?", turn % 7);
        try (PreparedStatement get = connection.prepareStatement("SELECT owner, balance FROM account WHERE id = ?")) {
            for (long turn = 0; turn < 14; turn++) {
                get.setLong(1, turn % 7);
                System.out.println(show(get.executeQuery()));
            }
        }
        ask("INSERT INTO account (id, owner) VALUES (?, ?)", 1L, "again");
        ask("SELEC 1");
        ask("SELECT * FROM nowhere WHERE id = ?", 1L);
        ask("SELECT 1 / ?", 0);
        ask("SELECT id FROM account WHERE id = 3; SELECT id FROM account WHERE id = 3");
    }

    static void transactions() throws Exception {
        connection.setAutoCommit(false);
        try (PreparedStatement add = connection.prepareStatement("INSERT INTO entry VALUES (3, ?, ?)")) {
            for (int n = 0; n < 40; n++) {
                add.setInt(1, n);
                add.setString(2, "w" + n);
                add.addBatch();
            }
            System.out.println(Arrays.toString(add.executeBatch()));
        }
        Savepoint savepoint = connection.setSavepoint();
        ask("INSERT INTO entry VALUES (3, 1, 'twice')");
        ask("SELECT 1");
        connection.rollback(savepoint);
        connection.commit();
        try (Statement walk = connection.createStatement()) {
            walk.setFetchSize(7);
            System.out.println(show(walk.executeQuery("SELECT n, what FROM entry WHERE account = 3 ORDER BY n")));
        }
        ask("DELETE FROM entry WHERE account = 3");
        connection.rollback();
        connection.setAutoCommit(true);
        try (PreparedStatement add = connection.prepareStatement("INSERT INTO entry VALUES (5, ?, 'b')")) {
            for (int n : new int[] {1, 2, 1, 3}) {
                add.setInt(1, n);
                add.addBatch();
            }
            add.executeBatch();
        } catch (BatchUpdateException error) {
            System.out.println("batch " + error.getSQLState() + " " + Arrays.toString(error.getUpdateCounts()));
        }
        ask("SELECT count(*) FROM entry WHERE account = 5");
    }

    static void copies() throws Exception {
        CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
        System.out.println("copied " + copy.copyIn("COPY plain FROM STDIN", new StringReader("1\tone\n2\ttwo\n")));
        StringWriter out = new StringWriter();
        copy.copyOut("COPY (SELECT n, what FROM entry WHERE account = 3 ORDER BY n) TO STDOUT", out);
        System.out.println(out);
        try {
            copy.copyIn("COPY plain FROM STDIN", new StringReader("1\tone\n"));
        } catch (SQLException error) {
            System.out.println("copy " + error.getSQLState());
        }
        ask("DELETE FROM plain");
    }

    static void metadata() throws Exception {
        DatabaseMetaData meta = connection.getMetaData();
        System.out.println(meta.getDatabaseProductVersion());
        for (ResultSet each : List.of(meta.getColumns(null, "public", "account", null), meta.getPrimaryKeys(null, "public", "entry"))) {
            while (each.next())
                System.out.print(each.getString("COLUMN_NAME") + " ");
            System.out.println();
        }
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> env = System.getenv();
        Properties properties = new Properties();
        properties.put("user", env.get("PGUSER"));
        properties.put("password", env.get("PGPASSWORD"));
        String url = "jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/" + env.get("PGDATABASE");
        for (String mode : new String[] {"extended", "simple", "extendedForPrepared"}) {
            properties.put("preferQueryMode", mode);
            connection = DriverManager.getConnection(url, properties);
            System.out.println(mode);
            queries(mode);
            ask("DELETE FROM account WHERE id = 2");
            if (mode.equals("extended")) {
                transactions();
                copies();
                metadata();
            }
            try (Statement slow = connection.createStatement()) {
                slow.setQueryTimeout(1);
                slow.executeQuery("SELECT pg_sleep(20)");
            } catch (SQLException error) {
                System.out.println("cancelled " + error.getSQLState());
            }
            System.out.println(connection.isValid(5));
            connection.close();
        }
    }
}
