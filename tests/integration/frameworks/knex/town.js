/*
 * Towns and who lives there, with Knex: `migrate NUMBER` goes up or down to so many migrations, `flows` prints what its
 * queries give. Where the database is, libpq's environment says.
 */
const knex = require('knex')({ client: 'pg', connection: {}, pool: { min: 0, max: 3 } });

const migrations = [
    {
        name: 'one',
        async up(k) {
            await k.schema.createTable('town', (t) => {
                t.bigInteger('id').primary();
                t.string('name').notNullable();
                t.enu('size', ['small', 'large'], { useNative: true, enumName: 'town_size' }).defaultTo('small');
                t.jsonb('facts');
                t.timestamps(true, true);
            });
            await k.schema.createTable('resident', (t) => {
                t.bigInteger('town_id').notNullable().references('town.id').onDelete('CASCADE');
                t.integer('number').notNullable();
                t.string('name', 40);
                t.primary(['town_id', 'number']);
            });
            await k.schema.createTable('trade', (t) => {
                t.increments();
                t.string('name').unique();
            });
        },
        async down(k) {
            await k.schema.dropTable('trade').dropTable('resident').dropTable('town');
            await k.raw('DROP TYPE town_size');
        },
    },
    {
        name: 'two',
        async up(k) {
            await k('town').insert([{ id: 1, name: 'first' }, { id: 2, name: 'second', facts: { old: true } }]);
            await k.schema.alterTable('resident', (t) => {
                t.renameColumn('name', 'called');
                t.decimal('wealth', 10, 2).notNullable().defaultTo(0);
                t.index(['called', 'wealth'], 'by_name');
            });
        },
        async down(k) {
            await k('town').del();
            await k.schema.alterTable('resident', (t) => {
                t.dropIndex([], 'by_name');
                t.dropColumn('wealth');
                t.renameColumn('called', 'name');
            });
        },
    },
    {
        name: 'three',
        async up(k) {
            await k.schema.alterTable('town', (t) => {
                t.integer('rank').defaultTo(7).index();
                t.string('name', 100).notNullable().alter();
            });
        },
        async down(k) {
            await k.schema.alterTable('town', (t) => t.dropColumn('rank'));
        },
    },
    {
        name: 'four', // rows of a table that is spread: not in the transaction that has changed the table
        async up(k) {
            await k('town').where('name', 'first').update({ rank: 1 });
        },
        async down(k) {
            await k('town').update({ rank: 7 });
        },
    },
];

async function migrate(count) {
    const source = {
        getMigrations: async () => migrations,
        getMigrationName: (m) => m.name,
        getMigration: async (m) => m,
    };
    const done = async () => (await knex.migrate.list({ migrationSource: source }))[0].length;
    while (await done() < count)
        console.log('up', (await knex.migrate.up({ migrationSource: source }))[1]);
    while (await done() > count)
        console.log('down', (await knex.migrate.down({ migrationSource: source }))[1]);
}

const steps = {
    columns: async () => Object.entries(await knex('resident').columnInfo()),
    tables: async () => [await knex.schema.hasTable('town'), await knex.schema.hasColumn('town', 'rank'), await knex.schema.hasTable('no')],
    towns: () => knex('town').insert([3, 4, 5, 6, 7].map((id) => ({ id, name: `t${id}`, size: 'large', facts: { id } })), ['id', 'size', 'rank']),
    residents: () => knex.batchInsert('resident', Array.from({ length: 40 }, (_, i) => ({ town_id: 1 + i % 7, number: i, called: `r${i % 9}`, wealth: i })), 15)
        .returning(['town_id', 'number']),
    trades: () => knex('trade').insert([{ name: 'smith' }, { name: 'baker' }]).returning('*'),
    ignored: () => knex('trade').insert([{ name: 'smith' }, { name: 'miller' }]).onConflict('name').ignore().returning('name'),
    merged: () => knex('town').insert([{ id: 3, name: 'three' }, { id: 8, name: 'eight' }]).onConflict('id').merge(['name']).returning(['id', 'name', 'size']),
    updated: () => knex('resident').where('wealth', '>', 30).increment('wealth', 5),
    renamed: () => knex('resident').where({ town_id: 2, number: 1 }).update({ called: 'x' }, ['called']),
    joined: () => knex('town as t').join('resident as r', 'r.town_id', 't.id').select('t.name', 'r.called').where('r.wealth', '<', 9).orderBy(['t.id', 'r.number']),
    grouped: () => knex('resident').select('called').count('* as n').sum('wealth as s').groupBy('called').having(knex.raw('count(*) > 4')).orderBy('called'),
    richest: () => knex('town').join('resident', 'town_id', 'id').groupBy('id', 'name').select('id', 'name').max('wealth as m').orderBy('m', 'desc').limit(3),
    first: () => knex('resident').where('called', 'r3').orderBy('wealth', 'desc').first(),
    counted: () => knex('resident').countDistinct('called as c').avg('wealth as a').first(),
    paged: () => knex('resident').select('number').orderBy('number').offset(5).limit(4),
    within: () => knex('town').select('id').whereIn('id', knex('resident').select('town_id').where('wealth', '>', 40)).orderBy('id'),
    with: () => knex.with('w', knex('resident').select('town_id').count('* as c').groupBy('town_id')).select('*').from('w').orderBy('town_id'),
    plucked: () => knex('town').whereJsonPath('facts', '$.id', '>', 4).orderBy('id').pluck('id'),
    transaction: () => knex.transaction(async (t) => {
        await t('town').insert({ id: 20, name: 'twenty' });
        await t.transaction(async (inner) => {
            await inner('town').insert({ id: 21, name: 'undone' });
            await inner('town').insert({ id: 20, name: 'twice' });
        }).catch((error) => console.log('caught', error.code));
        const locked = await t('resident').where('wealth', '>', 30).forUpdate().orderBy(['town_id', 'number']);
        await t('resident').insert({ town_id: 20, number: 1, called: 'last' });
        return locked.map((row) => [row.town_id, row.number]);
    }),
    rolled: () => knex.transaction(async (t) => {
        await t('resident').del();
        throw new Error('no');
    }).catch((error) => error.message),
    cascaded: async () => [await knex('town').where('id', 7).del(), await knex('resident').where('town_id', 7)],
    missing: () => knex('resident').insert({ town_id: 99, number: 1 }),
    left: async () => [await knex('town').orderBy('id').select('id', 'name', 'size', 'rank', 'facts'), await knex('resident').orderBy(['town_id', 'number']),
                       await knex('trade').select('name').orderBy('name')],
};

async function flows() {
    for (const [name, step] of Object.entries(steps)) {
        const found = await step().catch((error) => `${error.code}: ${error.code === '0A000' ? error.stack : error.constraint}`);
        console.log(name, JSON.stringify(found));
    }
}

(process.argv[2] === 'flows' ? flows() : migrate(+process.argv[3])).catch((error) => {
    console.error(error);
    process.exitCode = 1;
}).finally(() => knex.destroy());
